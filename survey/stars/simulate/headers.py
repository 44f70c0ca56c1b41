"""The headers of the archives' files, card by card as in real ones, with the values of one star left blank.

COLUMNS in a header stands for the cards of the table's columns, which are listed below it.
"""

_TESS_PRIMARY = """\
SIMPLE  =                    T / conforms to FITS standards
BITPIX  =                    8 / array data type
NAXIS   =                    0 / number of array dimensions
EXTEND  =                    T / file contains extensions
NEXTEND =                    2 / number of standard extensions
EXTNAME = 'PRIMARY '           / name of extension
EXTVER  =                    1 / extension version number (not format version)
SIMDATA =                    T / file is based on simulated data
ORIGIN  = 'NASA/Ames'          / institution responsible for creating this file
DATE    =                      / file creation date.
TSTART  =                      / observation start time in BTJD
TSTOP   =                      / observation stop time in BTJD
DATE-OBS=                      / TSTART as UTC calendar date
DATE-END=                      / TSTOP as UTC calendar date
CREATOR =                      / pipeline job and program us
PROCVER =                      / SW version
FILEVER = '1.0     '           / file format version
TIMVERSN= 'OGIP/93-003'        / OGIP memo number for file format
TELESCOP= 'TESS    '           / telescope
INSTRUME= 'TESS Photometer'    / detector type
DATA_REL=                   42 / data release version number
OBJECT  =                      / string version of target id
TICID   =                      / unique tess target identifier
SECTOR  =                      / Observing sector
CAMERA  =                      / Camera number
CCD     =                      / CCD chip number
PXTABLE =                  128 / pixel table id
RADESYS = 'ICRS    '           / reference frame of celestial coordinates
RA_OBJ  =                      / [deg] right ascension
DEC_OBJ =                      / [deg] declination
EQUINOX =               2000.0 / equinox of celestial coordinate system
PMRA    =           0.00000000 / [mas/yr] RA proper motion
PMDEC   =           0.00000000 / [mas/yr] Dec proper motion
PMTOTAL =           0.00000000 / [mas/yr] total proper motion
TESSMAG =                      / [mag] TESS magnitude
TEFF    =                      / [K] Effective temperature
LOGG    =                      / [cm/s2] log10 surface gravity
MH      =           0.00000000 / [log10([M/H])] metallicity
RADIUS  =                      / [solar radii] stellar radius
TICVER  = '8.1     '           / TIC version
CRMITEN =                    T / spacecraft cosmic ray mitigation enabled
CRBLKSZ =                   10 / [exposures] s/c cosmic ray mitigation block siz
CRSPOC  =                    F / SPOC cosmic ray cleaning enabled
CHECKSUM= '0000000000000000'   / HDU checksum
"""

_TESS_LIGHTCURVE = """\
XTENSION= 'BINTABLE'           / marks the beginning of a new HDU
BITPIX  =                    8 / array data type
NAXIS   =                    2 / number of array dimensions
NAXIS1  =                      / length of first array dimension
NAXIS2  =                      / length of second array dimension
PCOUNT  =                    0 / group parameter count (not used)
GCOUNT  =                    1 / group count (not used)
TFIELDS =                   20 / number of table fields
COLUMNS
INHERIT =                    T / inherit the primary header
EXTNAME = 'LIGHTCURVE'         / name of extension
EXTVER  =                    1 / extension version number (not format version)
SIMDATA =                    T / file is based on simulated data
TELESCOP= 'TESS    '           / telescope
INSTRUME= 'TESS Photometer'    / detector type
OBJECT  =                      / string version of target id
TICID   =                      / unique tess target identifier
RADESYS = 'ICRS    '           / reference frame of celestial coordinates
RA_OBJ  =                      / [deg] right ascension
DEC_OBJ =                      / [deg] declination
EQUINOX =               2000.0 / equinox of celestial coordinate system
EXPOSURE=                      / [d] time on source
TIMEREF = 'SOLARSYSTEM'        / barycentric correction applied to times
TASSIGN = 'SPACECRAFT'         / where time is assigned
TIMESYS = 'TDB     '           / time system is Barycentric Dynamical Time (TDB)
BJDREFI =              2457000 / integer part of BTJD reference date
BJDREFF =           0.00000000 / fraction of the day in BTJD reference date
TIMEUNIT= 'd       '           / time unit for TIME, TSTART and TSTOP
TELAPSE =                      / [d] TSTOP - TSTART
LIVETIME=                      / [d] TELAPSE multiplied by DEADC
TSTART  =                      / observation start time in BTJD
TSTOP   =                      / observation stop time in BTJD
DATE-OBS=                      / TSTART as UTC calendar date
DATE-END=                      / TSTOP as UTC calendar date
DEADC   =   0.7920000000000000 / deadtime correction
TIMEPIXR=                  0.5 / bin time beginning=0 middle=0.5 end=1
TIERRELA=             1.16E-05 / [d] relative time error
INT_TIME=       1.980000000000 / [s] photon accumulation time per frame
READTIME=       0.020000000000 / [s] readout time per frame
FRAMETIM=       2.000000000000 / [s] frame time (INT_TIME + READTIME)
NUM_FRM =                   60 / number of frames per time stamp
TIMEDEL = 0.001388888888888889 / [d] time resolution of data
BACKAPP =                    T / background is subtracted
DEADAPP =                    T / deadtime applied
VIGNAPP =                    T / vignetting or collimator correction applied
GAINA   =    5.260000228881836 / [electrons/count] CCD output A gain
GAINB   =    5.179999828338623 / [electrons/count] CCD output B gain
GAINC   =    5.199999809265137 / [electrons/count] CCD output C gain
GAIND   =    5.199999809265137 / [electrons/count] CCD output D gain
READNOIA=   10.046600341796875 / [electrons] read noise CCD output A
READNOIB=    7.718199729919434 / [electrons] read noise CCD output B
READNOIC=    7.539999961853027 / [electrons] read noise CCD output C
READNOID=    9.879999160766602 / [electrons] read noise CCD output D
NREADOUT=                   48 / number of read per cadence
FXDOFF  =               209700 / compression fixed offset
CDPP0_5 =                      / RMS CDPP on 0.5-hr time scales
CDPP1_0 =                      / RMS CDPP on 1.0-hr time scales
CDPP2_0 =                      / RMS CDPP on 2.0-hr time scales
CROWDSAP=                      / Ratio of target flux to total flux in op. ap.
FLFRCSAP=                      / Frac. of target flux w/in the op. aperture
NSPSDDET=                    0 / Number of SPSDs detected
NSPSDCOR=                    0 / Number of SPSDs corrected
PDCVAR  =   1.0352056012469601 / Target variability
PDCMETHD= 'msMAP   '           / PDC algorithm used for target
NUMBAND =                    3 / Number of scale bands
FITTYPE1= 'reducedRobust'      / Fit type used for band 1
PR_GOOD1=   0.9965335726737976 / Prior goodness for band 1
PR_WGHT1=                  0.0 / Prior weight for band 1
FITTYPE2= 'prior   '           / Fit type used for band 2
PR_GOOD2=   0.1467350423336029 / Prior goodness for band 2
PR_WGHT2=   12.155712127685547 / Prior weight for band 2
FITTYPE3= 'prior   '           / Fit type used for band 3
PR_GOOD3=   0.8128013014793396 / Prior goodness for band 3
PR_WGHT3=    67.33346557617188 / Prior weight for band 3
PDC_TOT =   0.9962161183357239 / PDC total goodness metric for target
PDC_TOTP=   49.924110412597656 / PDC_TOT percentile compared to mod/out
PDC_COR =   0.9967450499534607 / PDC correlation goodness metric for target
PDC_CORP=   37.908260345458984 / PDC_COR percentile compared to mod/out
PDC_VAR =                      / PDC variability goodness metric for target
PDC_VARP=                      / PDC_VAR percentile compared to mod/out
PDC_NOI =   0.9946180582046509 / PDC noise goodness metric for target
PDC_NOIP=    23.61129379272461 / PDC_NOI percentile compared to mod/out
PDC_EPT =                      / PDC earth point goodness metric for target
PDC_EPTP=                      / PDC_EPT percentile compared to mod/out
CHECKSUM= '0000000000000000'   / HDU checksum
TMOFST41=                  1.0 / (s) readout delay for camera 4 and ccd 1
MEANBLCA=                 6553 / [count] FSW mean black level CCD output A
MEANBLCB=                 6637 / [count] FSW mean black level CCD output B
MEANBLCC=                 6542 / [count] FSW mean black level CCD output C
MEANBLCD=                 6438 / [count] FSW mean black level CCD output D
"""

_KEPLER_PRIMARY = """\
SIMPLE  =                    T / conforms to FITS standards
BITPIX  =                    8 / array data type
NAXIS   =                    0 / number of array dimensions
EXTEND  =                    T / file contains extensions
NEXTEND =                    2 / number of standard extensions
EXTNAME = 'PRIMARY '           / name of extension
EXTVER  =                    1 / extension version number (not format version)
ORIGIN  = 'NASA/Ames'          / institution responsible for creating this file
DATE    =                      / file creation date.
CREATOR =                      / pipeline job and program used t
PROCVER =                      / SW version
FILEVER = '6.1     '           / file format version
TIMVERSN= 'OGIP/93-003'        / OGIP memo number for file format
TELESCOP= 'Kepler  '           / telescope
INSTRUME= 'Kepler Photometer'  / detector type
OBJECT  =                      / string version of target id
KEPLERID=                      / unique Kepler target identifier
CHANNEL =                      / CCD channel
SKYGROUP=                      / roll-independent location of channel
MODULE  =                      / CCD module
OUTPUT  =                      / CCD output
QUARTER =                      / Observing quarter
SEASON  =                      / mission season during which data was collected
DATA_REL=                   25 / data release version number
OBSMODE = 'long cadence'       / observing mode
MISSION = 'Kepler  '           / Mission name
TTABLEID=                   32 / target table id
RADESYS = 'ICRS    '           / reference frame of celestial coordinates
RA_OBJ  =                      / [deg] right ascension
DEC_OBJ =                      / [deg] declination
EQUINOX =               2000.0 / equinox of celestial coordinate system
PMRA    =               0.0000 / [arcsec/yr] RA proper motion
PMDEC   =               0.0000 / [arcsec/yr] Dec proper motion
PMTOTAL =               0.0000 / [arcsec/yr] total proper motion
PARALLAX=                      / [arcsec] parallax
GLON    =                      / [deg] galactic longitude
GLAT    =                      / [deg] galactic latitude
GMAG    =                      / [mag] SDSS g band magnitude
RMAG    =                      / [mag] SDSS r band magnitude
IMAG    =                      / [mag] SDSS i band magnitude
ZMAG    =                      / [mag] SDSS z band magnitude
D51MAG  =                      / [mag] D51 magnitude,
JMAG    =                      / [mag] J band magnitude from 2MASS
HMAG    =                      / [mag] H band magnitude from 2MASS
KMAG    =                      / [mag] K band magnitude from 2MASS
KEPMAG  =                      / [mag] Kepler magnitude (Kp)
GRCOLOR =                      / [mag] (g-r) color, SDSS bands
JKCOLOR =                      / [mag] (J-K) color, 2MASS bands
GKCOLOR =                      / [mag] (g-K) color, SDSS g - 2MASS K
TEFF    =                      / [K] Effective temperature
LOGG    =                      / [cm/s2] log10 surface gravity
FEH     =                      / [log10([Fe/H])]  metallicity
EBMINUSV=                      / [mag] E(B-V) reddening
AV      =                      / [mag] A_v extinction
RADIUS  =                      / [solar radii] stellar radius
TMINDEX =                      / unique 2MASS catalog ID
SCPID   =                      / unique SCP processing ID
CHECKSUM= '0000000000000000'   / HDU checksum
"""

_KEPLER_LIGHTCURVE = """\
XTENSION= 'BINTABLE'           / marks the beginning of a new HDU
BITPIX  =                    8 / array data type
NAXIS   =                    2 / number of array dimensions
NAXIS1  =                      / length of first array dimension
NAXIS2  =                      / length of second array dimension
PCOUNT  =                    0 / group parameter count (not used)
GCOUNT  =                    1 / group count (not used)
TFIELDS =                   20 / number of table fields
COLUMNS
INHERIT =                    T / inherit the primary header
EXTNAME = 'LIGHTCURVE'         / name of extension
EXTVER  =                    1 / extension version number (not format version)
TELESCOP= 'Kepler  '           / telescope
INSTRUME= 'Kepler Photometer'  / detector type
OBJECT  =                      / string version of target id
KEPLERID=                      / unique Kepler target identifier
RADESYS = 'ICRS    '           / reference frame of celestial coordinates
RA_OBJ  =                      / [deg] right ascension
DEC_OBJ =                      / [deg] declination
EQUINOX =               2000.0 / equinox of celestial coordinate system
EXPOSURE=                      / [d] time on source
TIMEREF = 'SOLARSYSTEM'        / barycentric correction applied to times
TASSIGN = 'SPACECRAFT'         / where time is assigned
TIMESYS = 'TDB     '           / time system is barycentric JD
BJDREFI =              2454833 / integer part of BJD reference date
BJDREFF =           0.00000000 / fraction of the day in BJD reference date
TIMEUNIT= 'd       '           / time unit for TIME, TSTART and TSTOP
TELAPSE =                      / [d] TSTOP - TSTART
LIVETIME=                      / [d] TELAPSE multiplied by DEADC
TSTART  =                      / observation start time in BJD-BJDREF
TSTOP   =                      / observation stop time in BJD-BJDREF
LC_START=                      / mid point of first cadence in MJD
LC_END  =                      / mid point of last cadence in MJD
DEADC   =           0.92063492 / deadtime correction
TIMEPIXR=                  0.5 / bin time beginning=0 middle=0.5 end=1
TIERRELA=             5.78E-07 / [d] relative time error
TIERABSO=                      / [d] absolute time error
INT_TIME=       6.019802903270 / [s] photon accumulation time per frame
READTIME=       0.518948526144 / [s] readout time per frame
FRAMETIM=       6.538751429414 / [s] frame time (INT_TIME + READTIME)
NUM_FRM =                  270 / number of frames per time stamp
TIMEDEL =     0.02043359821692 / [d] time resolution of data
DATE-OBS=                      / TSTART as UTC calendar date
DATE-END=                      / TSTOP as UTC calendar date
BACKAPP =                    T / background is subtracted
DEADAPP =                    T / deadtime applied
VIGNAPP =                    T / vignetting or collimator correction applied
GAIN    =               115.49 / [electrons/count] channel gain
READNOIS=            83.014212 / [electrons] read noise
NREADOUT=                  270 / number of read per cadence
TIMSLICE=                    1 / time-slice readout sequence section
MEANBLCK=                  714 / [count] FSW mean black level
LCFXDOFF=               419400 / long cadence fixed offset
SCFXDOFF=               219400 / short cadence fixed offset
CDPP3_0 =                      / [ppm] RMS CDPP on 3.0-hr time scales
CDPP6_0 =                      / [ppm] RMS CDPP on 6.0-hr time scales
CDPP12_0=                      / [ppm] RMS CDPP on 12.0-hr time scales
CROWDSAP=                      / Ratio of target flux to total flux in op. ap.
FLFRCSAP=                      / Frac. of target flux w/in the op. aperture
NSPSDDET=                    0 / Number of SPSDs detected
NSPSDCOR=                    0 / Number of SPSDs corrected
PDCVAR  =   0.8503695130348206 / Target variability
PDCMETHD= 'multiScaleMap'      / PDC algorithm used for target
NUMBAND =                    3 / Number of scale bands
FITTYPE1= 'robust  '           / Fit type used for band 1
PR_GOOD1=                  0.0 / Prior goodness for band 1
PR_WGHT1=                  0.0 / Prior weight for band 1
FITTYPE2= 'prior   '           / Fit type used for band 2
PR_GOOD2=   0.4701715409755707 / Prior goodness for band 2
PR_WGHT2=    32.19609832763672 / Prior weight for band 2
FITTYPE3= 'prior   '           / Fit type used for band 3
PR_GOOD3=  0.44455215334892273 / Prior goodness for band 3
PR_WGHT3=    30.44175148010254 / Prior weight for band 3
PDC_TOT =   0.9689826965332031 / PDC total goodness metric for target
PDC_TOTP=    82.98854064941406 / PDC_TOT percentile compared to mod/out
PDC_COR =   0.9974794983863831 / PDC correlation goodness metric for target
PDC_CORP=   38.780296325683594 / PDC_COR percentile compared to mod/out
PDC_VAR =   0.9990480542182922 / PDC variability goodness metric for target
PDC_VARP=     89.9820327758789 / PDC_VAR percentile compared to mod/out
PDC_NOI =   0.8794798851013184 / PDC noise goodness metric for target
PDC_NOIP=     68.2160873413086 / PDC_NOI percentile compared to mod/out
PDC_EPT =    0.999952495098114 / PDC earth point goodness metric for target
PDC_EPTP=    52.54520797729492 / PDC_EPT percentile compared to mod/out
CHECKSUM= '0000000000000000'   / HDU checksum
"""

_TESS_APERTURE = """\
XTENSION= 'IMAGE   '           / marks the beginning of a new HDU
BITPIX  =                   32 / array data type
NAXIS   =                    2 / number of array dimensions
NAXIS1  =                      / length of first array dimension
NAXIS2  =                      / length of second array dimension
PCOUNT  =                    0 / group parameter count (not used)
GCOUNT  =                    1 / group count (not used)
INHERIT =                    T / inherit the primary header
EXTNAME = 'APERTURE'           / name of extension
EXTVER  =                    1 / extension version number (not format version)
SIMDATA =                    T / file is based on simulated data
TELESCOP= 'TESS    '           / telescope
INSTRUME= 'TESS Photometer'    / detector type
OBJECT  =                      / string version of target id
TICID   =                      / unique tess target identifier
RADESYS = 'ICRS    '           / reference frame of celestial coordinates
RA_OBJ  =                      / [deg] right ascension
DEC_OBJ =                      / [deg] declination
EQUINOX =               2000.0 / equinox of celestial coordinate system
WCSAXES =                    2 / number of WCS axes
CTYPE1  = 'RA---TAN'           / right ascension coordinate type
CTYPE2  = 'DEC--TAN'           / declination coordinate type
CRPIX1  =    5.756041017686357 / [pixel] reference pixel along image axis 1
CRPIX2  =    5.493627758479079 / [pixel] reference pixel along image axis 2
CRVAL1  =                      / [deg] right ascension at reference pixel
CRVAL2  =                      / [deg] declination at reference pixel
CUNIT1  = 'deg     '           / physical unit in column dimension
CUNIT2  = 'deg     '           / physical unit in row dimension
CDELT1  =   -0.005650321635072 / [deg] pixel scale in RA dimension
CDELT2  = 0.005650321635072149 / [deg] pixel scale in Dec dimension
PC1_1   =  -0.3289878905803308 / linear transformation element cos(th)
PC1_2   =  -0.9270027129993714 / linear transformation element -sin(th)
PC2_1   =  -0.9589553501449606 / linear transformation element sin(th)
PC2_2   =   0.3375376174924736 / linear transformation element cos(th)
WCSNAMEP= 'PHYSICAL'           / name of world coordinate system alternate P
WCSAXESP=                    2 / number of WCS physical axes
CTYPE1P = 'RAWX    '           / physical WCS axis 1 type CCD col
CUNIT1P = 'PIXEL   '           / physical WCS axis 1 unit
CRPIX1P =                    1 / reference CCD column
CRVAL1P =                 1619 / value at reference CCD column
CDELT1P =                  1.0 / physical WCS axis 1 step
CTYPE2P = 'RAWY    '           / physical WCS axis 2 type CCD row
CUNIT2P = 'PIXEL   '           / physical WCS axis 2 units
CRPIX2P =                    1 / reference CCD row
CRVAL2P =                  389 / value at reference CCD row
CDELT2P =                  1.0 / physical WCS axis 2 step
NPIXSAP =                      / Number of pixels in optimal aperture
NPIXMISS=                    0 / Number of op. aperture pixels not collected
CHECKSUM= '0000000000000000'   / HDU checksum
"""

_KEPLER_APERTURE = "".join(
    card.replace("TICID   =", "KEPLERID=") for card in _TESS_APERTURE.splitlines(True) if not card.startswith("SIMDATA")
)

_LIGHT_CURVE_ONLY = ("NSPSD", "PDC", "NUMBAND", "FITTYPE", "PR_", "CDPP")


def _pixel_header(light_curve: str, name: str, n_columns: int) -> str:
    """The header of a target pixel file's table: that of the light curve's without what its pipeline says of it."""
    lines = [line for line in light_curve.splitlines(True) if not line.startswith(_LIGHT_CURVE_ONLY)]
    header = "".join(lines).replace("'LIGHTCURVE'        ", f"'{name}'".ljust(20))
    return header.replace("TFIELDS =                   20", f"TFIELDS = {n_columns:>20}")


COLUMNS = (
    # name, format, unit, display
    ("TIME", "D", "", "D14.7"),
    ("TIMECORR", "E", "d", "E14.7"),
    ("CADENCENO", "J", "", "I10"),
    ("SAP_FLUX", "E", "e-/s", "E14.7"),
    ("SAP_FLUX_ERR", "E", "e-/s", "E14.7"),
    ("SAP_BKG", "E", "e-/s", "E14.7"),
    ("SAP_BKG_ERR", "E", "e-/s", "E14.7"),
    ("PDCSAP_FLUX", "E", "e-/s", "E14.7"),
    ("PDCSAP_FLUX_ERR", "E", "e-/s", "E14.7"),
    ("QUALITY", "J", "", "B16.16"),
    ("PSF_CENTR1", "D", "pixel", "F10.5"),
    ("PSF_CENTR1_ERR", "E", "pixel", "E14.7"),
    ("PSF_CENTR2", "D", "pixel", "F10.5"),
    ("PSF_CENTR2_ERR", "E", "pixel", "E14.7"),
    ("MOM_CENTR1", "D", "pixel", "F10.5"),
    ("MOM_CENTR1_ERR", "E", "pixel", "E14.7"),
    ("MOM_CENTR2", "D", "pixel", "F10.5"),
    ("MOM_CENTR2_ERR", "E", "pixel", "E14.7"),
    ("POS_CORR1", "E", "pixels", "E14.7"),
    ("POS_CORR2", "E", "pixels", "E14.7"),
)

PIXEL_COLUMNS = (
    ("TIME", "D", "", "D14.7"),
    ("TIMECORR", "E", "d", "E14.7"),
    ("CADENCENO", "J", "", "I10"),
    ("RAW_CNTS", "0J", "count", ""),
    ("FLUX", "pixels", "e-/s", "E14.7"),
    ("FLUX_ERR", "pixels", "e-/s", "E14.7"),
    ("QUALITY", "J", "", "B16.16"),
    ("POS_CORR1", "E", "pixel", "E14.7"),
    ("POS_CORR2", "E", "pixel", "E14.7"),
)

_PIXEL_TABLES = {"tess": "PIXELS", "kepler": "TARGETTABLES"}

HEADERS = {
    ("tess", "lc"): (_TESS_PRIMARY, _TESS_LIGHTCURVE, _TESS_APERTURE),
    ("kepler", "lc"): (_KEPLER_PRIMARY, _KEPLER_LIGHTCURVE, _KEPLER_APERTURE),
    ("tess", "tp"): (
        _TESS_PRIMARY, _pixel_header(_TESS_LIGHTCURVE, _PIXEL_TABLES["tess"], len(PIXEL_COLUMNS)), _TESS_APERTURE,
    ),
    ("kepler", "tp"): (
        _KEPLER_PRIMARY,
        _pixel_header(_KEPLER_LIGHTCURVE, _PIXEL_TABLES["kepler"], len(PIXEL_COLUMNS)),
        _KEPLER_APERTURE,
    ),
}  # fmt: skip

MISSION_COLUMNS = {
    "tess": {"TIME": ("TIME", "D", "BJD - 2457000, days", "D14.7")},
    "kepler": {
        "TIME": ("TIME", "D", "BJD - 2454833", "D14.7"),
        "TIMECORR": ("TIMECORR", "E", "d", "E13.6"),
        "QUALITY": ("SAP_QUALITY", "J", "", "B16.16"),
    },
}
"""Where a mission's table differs from COLUMNS."""
