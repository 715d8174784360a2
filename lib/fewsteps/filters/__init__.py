"""The noise operator M of TDAS and PDS, and its baselines.

A filter is a mask over frequencies, a mask over pixels, and a placement: `where` says which noise passes through it,
`drift` whether M M^T multiplies the score. A sampler that cannot honour a placement refuses it.
"""

from fewsteps.filters.operator import IDENTITY, PLACES, Filter, Place
from fewsteps.filters.pds import pds_from_data, pds_from_power, pds_mask, pds_radial
from fewsteps.filters.plain import optimal, scalar, space_from_data, space_from_mean
from fewsteps.filters.solenoid import Solenoid, largest_omega, real_of_dft_minus_transpose, solenoid
from fewsteps.filters.tdas import Zones, tdas, tdas_auto, tdas_zones, zone_gains, zone_mask

__all__ = [
    "IDENTITY",
    "PLACES",
    "Filter",
    "Place",
    "Solenoid",
    "Zones",
    "largest_omega",
    "optimal",
    "pds_from_data",
    "pds_from_power",
    "pds_mask",
    "pds_radial",
    "real_of_dft_minus_transpose",
    "scalar",
    "solenoid",
    "space_from_data",
    "space_from_mean",
    "tdas",
    "tdas_auto",
    "tdas_zones",
    "zone_gains",
    "zone_mask",
]
