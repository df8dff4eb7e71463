"""Measures of a result. Nothing here is used to make one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from reanimate.errors import ReanimateError
from reanimate.faces.detect import Detector, DlibDetector, Face, model_file
from reanimate.images import resize
from reanimate.types import Float32, UInt8

Float64 = NDArray[np.float64]
LpipsNet = Literal["alex", "vgg"]

SAME_PERSON = 0.6  # the distance below which dlib's authors call two faces the same person
MEASURING_SIDE = 256  # px; smaller pictures are enlarged for the detector
LPIPS_SIDE = 64  # px; smaller pictures are enlarged: the learned weights are of patches of this size
_CHIP_JITTERS = 0  # the descriptor of one chip, not the mean over shaken ones


@cache
def _descriptor_network() -> tuple[Any, Any]:
    try:
        import dlib
    except ImportError as error:
        raise ReanimateError("dlib is missing; install it with: pip install dlib-bin") from error
    return dlib, dlib.face_recognition_model_v1(str(model_file("dlib_face_recognition_resnet_model_v1.dat")))


def surest_face(
    picture: UInt8, detector: Detector | None = None, last: Face | None = None
) -> tuple[UInt8, Face] | None:
    """A picture [H, W, 3], enlarged if it is small, and the surest face in it, in its px; None if no face is seen.

    With `last`, the face of a picture before, it is looked for there first, which takes a fifth of the time.
    """
    detector = detector or DlibDetector()
    side = max(picture.shape[:2])
    if side < MEASURING_SIDE:
        scale = MEASURING_SIDE / side
        picture = resize(picture, round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    near = detector.detect_near(picture, last) if last is not None else None
    faces = [near] if near is not None else detector.detect(picture)
    return (picture, faces[0]) if faces else None


def face_descriptor(picture: UInt8, detector: Detector | None = None) -> Float64 | None:
    """Dlib's descriptor [128] of the surest face in a picture [H, W, 3]; None if no face is seen in it.

    Source: King 2017, "High Quality Face Recognition with Deep Metric Learning".
    """
    seen = surest_face(picture, detector)
    return descriptor_at(seen[0], seen[1].landmarks) if seen else None


def descriptor_at(picture: UInt8, landmarks: Float32) -> Float64:
    """Dlib's descriptor [128] of the face whose landmarks [68, 2] px are known."""
    dlib, network = _descriptor_network()
    left, top = (round(float(v)) for v in landmarks.min(0))
    right, bottom = (round(float(v)) for v in landmarks.max(0))
    points = [dlib.point(round(float(x)), round(float(y))) for x, y in landmarks]
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right, bottom), points)
    return np.array(network.compute_face_descriptor(picture, shape, _CHIP_JITTERS))


def psnr(a: UInt8, b: UInt8) -> float:
    """Peak signal-to-noise ratio of two pictures [H, W, 3], dB."""
    error = float(np.square(a.astype(np.float64) - b).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


@dataclass(frozen=True, slots=True)
class Likeness:
    """Whom the frames of a result show, by the distances of dlib's descriptor. All NaN if no frame shows a face."""

    mean: float
    """To the target."""
    worst: float
    """To the target, of all frames."""
    under: float
    """Share of frames in which it is the same person, by SAME_PERSON."""
    to_source: float
    """Mean distance to the source."""
    nearer: float
    """Share of frames nearer the target than the source."""
    frames: int
    """With a face; the others count nowhere above."""


def likeness(descriptors: Float64, target: Float64, source: Float64) -> Likeness:
    """Of frames with descriptors [T, 128], NaN where no face is seen, to a target and a source [128]."""
    seen = descriptors[np.isfinite(descriptors).all(1)]
    if not len(seen):
        return Likeness(np.nan, np.nan, np.nan, np.nan, np.nan, 0)
    to_target, to_source = (np.linalg.norm(seen - who, axis=1) for who in (target, source))
    return Likeness(
        mean=float(to_target.mean()),
        worst=float(to_target.max()),
        under=float((to_target < SAME_PERSON).mean()),
        to_source=float(to_source.mean()),
        nearer=float((to_target < to_source).mean()),
        frames=len(seen),
    )


def nearest(queries: Float64, gallery: Float64) -> NDArray[np.intp]:
    """[N] which of the gallery's descriptors [M, 128] is nearest to each of the queries' [N, 128]."""
    return np.asarray(cdist(queries, gallery).argmin(1))


def frechet_distance(a: Float64, b: Float64) -> float:
    """Between Gaussians fitted to two sets of features [N, F] and [M, F]; sets smaller than F make it too large.

    Source: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium".
    """

    def root(features: Float64) -> Float64:
        """A factor of the covariance: rootᵀ root."""
        return np.asarray(np.linalg.qr((features - features.mean(0)) / np.sqrt(len(features) - 1)).R)

    shift = np.square(a.mean(0) - b.mean(0)).sum()
    spread = a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum()
    # the trace of the root of a product of covariances is the nuclear norm of the product of their factors
    return float(shift + spread - 2 * np.linalg.norm(root(a) @ root(b).T, "nuc"))


def kernel_distance(a: Float64, b: Float64) -> float:
    """Squared maximum mean discrepancy of two sets of features [N, F] and [M, F], unbiased, so that it may be negative.

    Source: Bińkowski et al. 2018, "Demystifying MMD GANs": the kernel (x·y / F + 1)³. Differs in taking the whole sets
    at once instead of a mean over subsets.
    """

    def kernel(x: Float64, y: Float64) -> Float64:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (kernel(a, a), kernel(b, b))]
    return float(sum(within) - 2 * kernel(a, b).mean())


def lpips_distance(a: UInt8, b: UInt8, net: LpipsNet = "alex") -> float:
    """LPIPS of two pictures [H, W, 3] of one size; the trunk's weights are torchvision's, fetched once.

    Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".

    Raises:
        WeightsUnavailable: the trunk's weights are neither cached nor can be fetched.
    """
    import torch

    from reanimate.images import to_tensor

    if a.shape != b.shape:
        raise ValueError(f"pictures of two sizes, {a.shape} and {b.shape}")
    scale = max(1.0, LPIPS_SIDE / min(a.shape[:2]))
    size = round(a.shape[1] * scale), round(a.shape[0] * scale)
    pair = [to_tensor(resize(picture, *size)[None]) for picture in (a, b)]
    with torch.no_grad():
        return float(_lpips_network(net)(*pair))


def lpips_ready(net: LpipsNet) -> None:
    """Return quietly if LPIPS can be measured.

    Raises:
        WeightsUnavailable: the trunk's weights are neither cached nor can be fetched.
    """
    _lpips_network(net)


@cache
def _lpips_network(net: LpipsNet) -> Any:
    import lpips
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    from reanimate.inversion.features import fetched_weights

    urls = {"alex": AlexNet_Weights.IMAGENET1K_V1.url, "vgg": VGG16_Weights.IMAGENET1K_V1.url}
    trunk = fetched_weights(f"LPIPS with {net}", urls[net])
    with warnings.catch_warnings():  # it asks torchvision for a network in a way that is going out of use
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # "slice2.5.weight" there is "features.5.weight" here
    names = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
    network.net.load_state_dict({ours: trunk[theirs] for ours, theirs in names.items()})
    return network
