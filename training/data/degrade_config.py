"""How crops are degraded: every operator's range and share, each with its reason, and presets of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeAlias

from training.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Range: TypeAlias = tuple[float, float]


def check_ranges(config: DataclassInstance, *, positive: Sequence[str] = (), signed: Sequence[str] = ()) -> None:
    """Raise ConfigError for a `..._share` outside [0, 1], a pair that is not (low, high), or a negative number.

    positive: names of settings that must be above 0. signed: names of settings that may be negative.
    """
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if name.endswith("_share") and not 0.0 <= value <= 1.0:
            raise ConfigError(f"{name} = {value} must lie in [0, 1]")
        if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
            raise ConfigError(f"{name} = {value} must be (low, high)")
        least = min(value) if isinstance(value, tuple) else value
        if least < 0 and name not in signed:
            raise ConfigError(f"{name} = {value} must not be negative")
        if least == 0 and name in positive:
            raise ConfigError(f"{name} = {value} must be above 0")


@dataclass(frozen=True)
class DegradeConfig:
    """Ranges of every operator; lengths in pixels of a 32 px word, shares are probabilities in [0, 1].

    A range (low, high) is drawn from uniformly. sharp, screen, scan and clean exclude each other.
    ConfigError names a range that is reversed, a share outside [0, 1], or shares that exceed 1 together.
    """

    sharp_share: float = 0.0  # shrunk, perhaps a JPEG, nothing else: readable text must stay readable
    screen_share: float = 0.0  # a screenshot: letters with colour fringes, no lens and no noise
    screen_rescaled_share: float = 0.5  # pages and messengers show pictures at another size
    screen_scale: Range = (0.7, 1.4)  # of that size: below, letters no longer look like a screen's
    scan_share: float = 0.0  # a scan or photocopy: grey, paper made white and ink black
    scan_sigma_px: Range = (0.4, 1.6)  # glass and toner blur little
    scan_gain: Range = (1.0, 2.5)  # steepness of the soft threshold; 1: a grey scan, 2.5: a third photocopy
    scan_grain: Range = (0.01, 0.08)  # of the contrast, before the threshold, which clears the paper of most
    clean_share: float = 0.0  # blur and shrink alone, so that noise does not reveal the blur
    misalign_share: float = 0.8  # LR and HR of TextZoom are two photographs, registered but never exactly
    shift_px: float = 1.0  # whole-crop shift, each axis, plus or minus
    corner_px: float = 0.8  # extra move of each corner (slight perspective); with the shift at most 1.8 px
    light_share: float = 0.7  # two lenses expose differently
    contrast: Range = (0.8, 1.2)  # gain about the crop's mean
    brightness: Range = (-20.0, 20.0)  # added, of 255
    gaussian_share: float = 0.8  # most residual blur of a zoom-out is close to Gaussian
    sigma_px: Range = (0.4, 2.8)  # 0.4: barely visible; 2.8: strokes of a 32 px word run together
    sigma_tail_px: Range = (2.8, 4.0)  # the worst crops of users
    sigma_tail_share: float = 0.08  # rare, as most crops are better
    anisotropy: Range = (0.5, 1.0)  # minor over major axis: hand shake smears one direction
    defocus_share: float = 0.12  # disks: a lens out of focus; the rest of 1 is short motion
    defocus_radius_px: Range = (0.8, 3.2)
    motion_px: Range = (2.0, 6.0)  # "short": under a stroke's spacing at 32 px high
    filter_weights: tuple[float, float, float] = (0.4, 0.3, 0.3)  # area, linear, cubic: unknown resizers
    noise_share: float = 0.9
    noise_std: Range = (0.5, 8.0)  # of 255; 8 is a phone at night
    grey_noise_share: float = 0.4  # luminance noise, as denoised phone pictures keep it
    sharpen_share: float = 0.2  # cameras and scanners sharpen after shrinking
    sharpen_amount: Range = (0.2, 0.6)  # mild unsharp mask of sigma 1 LR px; 1.0 would double the noise too
    jpeg_share: float = 0.6  # most crops were a JPEG once
    jpeg_quality: tuple[int, int] = (45, 95)
    heavy_share: float = 0.1  # a minority: more of BSRGAN's ranges teaches to invent strokes
    heavy_sigma_px: Range = (0.5, 2.5)
    heavy_scale: Range = (0.5, 1.0)  # first resize: text may have been resized before
    heavy_noise_std: Range = (1.0, 15.0)  # BSRGAN: up to 25, which destroys words of 16 px
    heavy_jpeg_quality: tuple[int, int] = (30, 90)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            positive=("heavy_sigma_px", "heavy_scale", "screen_scale", "scan_sigma_px"),
            signed=("brightness",),
        )
        if self.gaussian_share + self.defocus_share > 1.0:
            raise ConfigError("gaussian_share + defocus_share must not exceed 1")
        if sum(self.kind_shares) > 1.0:
            raise ConfigError("sharp_share + screen_share + scan_share + clean_share must not exceed 1")

    @property
    def kind_shares(self) -> tuple[float, float, float, float]:
        """Shares of sharp, screen, scan and clean crops; the rest are ordinary photographs."""
        return self.sharp_share, self.screen_share, self.scan_share, self.clean_share


FULL = DegradeConfig()
# The whole range of users' crops; the target is aligned with its LR and has the same exposure.
CROPS = DegradeConfig(
    misalign_share=0.0, light_share=0.0, sharp_share=0.12, screen_share=0.06, scan_share=0.05, clean_share=0.2,
    sigma_px=(0.3, 3.4), sigma_tail_px=(3.4, 4.2), sigma_tail_share=0.05, noise_share=0.75, heavy_share=0.07,
)  # fmt: skip
# The crops that the service sends through the network: it shows them at a blur of 2 to 2.5 LR px, which few of
# CROPS have.
BLURRED = replace(CROPS, sigma_px=(1.2, 3.6), defocus_radius_px=(1.6, 4.0), motion_px=(3.0, 7.0),
                  sharp_share=0.08, screen_share=0.04)  # fmt: skip
PRESETS: dict[str, DegradeConfig] = {
    "full": FULL,
    "crops": CROPS,
    "blurred": BLURRED,
    "sharp": replace(FULL, sharp_share=1.0),
    "mild": replace(FULL, sigma_px=(0.4, 1.2), sigma_tail_share=0.0, defocus_radius_px=(0.8, 1.3),
                    motion_px=(2.0, 3.0), noise_std=(0.5, 3.0), jpeg_quality=(75, 95), heavy_share=0.0),
    "medium": replace(FULL, sigma_px=(1.2, 2.0), sigma_tail_share=0.0, defocus_radius_px=(1.3, 2.2),
                      motion_px=(3.0, 4.5), noise_std=(1.0, 5.0), jpeg_quality=(60, 90), heavy_share=0.0),
    "hard": replace(FULL, sigma_px=(2.0, 2.8), sigma_tail_share=0.25, defocus_radius_px=(2.2, 3.2),
                    motion_px=(4.5, 6.0), noise_std=(2.0, 8.0), jpeg_quality=(45, 75), heavy_share=0.1),
    "defocus": replace(FULL, gaussian_share=0.2, defocus_share=0.75, defocus_radius_px=(1.6, 3.2)),
    "noise-jpeg": replace(FULL, sigma_px=(0.4, 1.6), sigma_tail_share=0.0, noise_share=1.0,
                          noise_std=(4.0, 8.0), jpeg_share=1.0, jpeg_quality=(45, 65)),
}  # fmt: skip


def preset(name: str) -> DegradeConfig:
    """The named configuration; ConfigError lists the names when there is none."""
    if name not in PRESETS:
        raise ConfigError(f"no degradation preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
