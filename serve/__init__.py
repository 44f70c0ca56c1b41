"""Scores of single stars over HTTP, by the very code of a sweep.

    Front (routes)  ->  Examiner (the stages, in batches)  ->  answers
                    ->  Desk (jobs that take long, detectors that were trained)

`app` makes Ray Serve deployments of them; `routes` and what they call know no Ray.
"""
