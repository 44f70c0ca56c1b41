"""What each column of the catalogue is in the words of the Virtual Observatory: unified content descriptors.

Vocabulary: IVOA Recommendation UCD1+ (The UCD1+ controlled vocabulary). A test compares it with astropy's copy.
"""

from typing import Final

from survey.schema import SIGNAL_MODELS

_ERRORS: Final = {
    "period_err": "period",
    "epoch_err": "epoch",
    "depth_err_ppm": "depth_ppm",
    "planet_radius_err": "planet_radius",
}

UCDS: Final = {
    "rank": "stat.rank",
    "target_id": "meta.id;meta.main",
    "mission": "meta.id;instr.obsty",
    "number": "meta.id.part",
    "period": "time.period",
    "epoch": "time.epoch;obs.transit",
    "epoch_bjd": "time.epoch;meta.main",
    "duration_h": "time.duration;obs.transit",
    "depth_ppm": "phot.flux;arith.ratio",
    "snr": "stat.snr",
    "mes": "stat.snr;meta.main",
    "pink_snr": "stat.snr",
    "fap": "stat.falsePositive",
    "sde": "stat.snr;time.period",
    "max_ses": "stat.snr;stat.max",
    "rest_mes": "stat.snr;arith.ratio",
    "box_over_sine": "stat.snr;arith.ratio",
    "inverted_mes": "stat.snr",
    "n_transits": "meta.number;obs.transit",
    "n_open_periods": "meta.number;time.period",
    "scatter_beta": "stat.stdev;arith.ratio",
    "planet_radius": "phys.size.radius",
    "equilibrium_temp": "phys.temperature",
    "insolation": "phot.flux.bol;arith.ratio",
    "is_candidate": "meta.code.class;meta.main",
    "flags": "meta.code.qual",
    "not_transit_like": "meta.code.class",
    "significant_secondary": "meta.code.class",
    "centroid_offset": "meta.code.class",
    **{f"{model}_probability": "stat.probability" for model in SIGNAL_MODELS},
    **{f"{model}_spread": "stat.stdev;stat.probability" for model in SIGNAL_MODELS},
    **{f"{model}_score": "stat.likelihood" for model in SIGNAL_MODELS},
    "probability": "stat.probability",
    "score_raw": "stat.likelihood",
    "num_segments": "meta.number",
    "star_score_max": "stat.likelihood;stat.max",
    "period_probability": "stat.probability;src",
    "anomaly_score": "stat.likelihood;src",
    "star_out_of_support": "meta.code.qual",
    "out_of_support": "meta.code.qual",
    "not_scored": "meta.note",
    "star_score": "stat.likelihood;src",
    "star_probability": "stat.probability;src",
    "models": "meta.id;meta.software",
    "ephemeris_match": "meta.code.class",
    "match_kind": "meta.code.class",
    "match_target": "meta.id.assoc",
    "match_ratio": "time.period;arith.ratio",
    "match_separation_arcsec": "pos.angDistance",
    "n_same_epoch": "meta.number;src",
    "novelty": "meta.code.status",
    "known_name": "meta.id.cross",
    "known_catalogue": "meta.ref",
    "known_disposition": "meta.code.class",
    "known_ratio": "time.period;arith.ratio",
    "known_separation_arcsec": "pos.angDistance",
    "star_class": "src.class",
    "class_evidence": "meta.note",
    "time_zero": "time.epoch;arith.zp",
    "n_cadences": "meta.number;obs.exposure",
    "baseline_d": "time.interval",
    "scatter_ppm": "stat.stdev;phot.flux",
    "magnitude": "phot.mag;em.opt",
    "teff": "phys.temperature.effective",
    "radius": "phys.size.radius;src",
    "logg": "phys.gravity",
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "observed": "meta.id;obs.field",
}
"""Column of schema.CANDIDATE, or of the catalogue of stars, -> UCD, but for errors."""

CENTROID_UCDS: Final = {
    "offset_pixels": "pos.angDistance;pos.centroid",
    "offset_pixels_err": "stat.error;pos.angDistance",
    "offset_arcsec": "pos.angDistance;pos.centroid",
    "offset_arcsec_err": "stat.error;pos.angDistance",
    "column_offset": "pos.cartesian.x;arith.diff",
    "row_offset": "pos.cartesian.y;arith.diff",
    "column_var": "stat.variance;pos.cartesian.x",
    "row_var": "stat.variance;pos.cartesian.y",
    "covariance": "stat.covariance;pos.cartesian",
    "ra_offset_arcsec": "pos.eq.ra;arith.diff",
    "dec_offset_arcsec": "pos.eq.dec;arith.diff",
    "significance": "stat.snr;pos.angDistance",
    "n_products": "meta.number;meta.file",
    "problem": "meta.code.qual",
}
"""Field of schema.CENTROID -> UCD."""


def ucd_of(name: str) -> str:
    """Raises KeyError for a column that has none yet."""
    return f"stat.error;{UCDS[_ERRORS[name]]}" if name in _ERRORS else UCDS[name]
