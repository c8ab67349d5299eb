"""The paper's idea with its two slips mended: a unit vector, and a threshold calibrated on held-out labels.

The edited latent lands exactly on the threshold, and the threshold is as high as the wanted residual ratio allows.
"""

from lib.latent import Direction, Edit


def edit(direction: Direction) -> Edit:
    """The edit along z_e / ||z_e||, beyond the calibrated threshold."""
    return Edit(direction.vector / direction.vector.norm(), direction.calibrated)
