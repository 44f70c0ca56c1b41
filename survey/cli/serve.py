"""`survey serve`: the HTTP service and its page, on this machine."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from survey.cli.options import CacheOption, CatalogsOption, PresetOption, SetOption, SourceOption, choose_cache
from survey.cli.tables import say


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    source: SourceOption = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0: any free port.")] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="This machine alone, or with keys an address that others reach.")
    ] = "127.0.0.1",
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="A key a line, beside those in SURVEY_API_KEYS; without any, only this machine is served.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="A run whose candidates are shown.", show_default=False)
    ] = None,
    detectors: Annotated[
        Path | None,
        typer.Option("--detectors", metavar="DIR", help="Keeps the detectors that are trained.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes that search and score.", show_default="half the cores"),
    ] = None,
    cache: CacheOption = None,
    catalogs: CatalogsOption = None,
    preset: PresetOption = None,
    settings: SetOption = None,
) -> None:
    """Score single stars over HTTP, and in a browser, with the very numbers of a sweep.

    Answers at /health once it is up. Ctrl-C ends it after what is under way.

    [bold]Examples[/]

    survey serve --source demo

    survey serve --source mirror:/data/tess --port 8080 --run runs/sector-15

    SURVEY_API_KEYS=$(openssl rand -hex 24) survey serve --host 0.0.0.0
    """
    from serve.launch import serve_here
    from serve.settings import KEYS, Settings

    chosen = source or "mast"
    examiners = workers or max(1, min(4, (os.cpu_count() or 1) // 2))
    told = Settings(
        source=chosen,
        cache=choose_cache(cache, chosen),
        catalogs=catalogs,
        preset=preset,
        overrides=tuple(settings or ()),
        run=run,
        detectors=detectors,
        laptop=key_file is None and not os.environ.get(KEYS),
        key_file=key_file,
        fronts=1,
        examiners=examiners,
        most_examiners=examiners,
    )
    say("[dim]starting[/]")
    serve_here(told, host, port, lambda address: _say_ready(address, chosen, told.laptop))


def _say_ready(address: str, source: str, laptop: bool) -> None:
    say(f"[bold]{escape(address)}[/]  the page; stars come from {escape(source)}")
    say(f'  curl "{escape(address)}/v1/score/TIC%20900000001"' + ("" if laptop else ' -H "Authorization: Bearer KEY"'))
    say("  Ctrl-C ends it")
