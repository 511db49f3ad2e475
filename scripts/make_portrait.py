"""Makes what the talking heads know of their photograph: `mediakit/synthetic/portrait.{safetensors,png}`.

The photograph itself (Eileen Collins, NASA, public domain) comes with scikit-image. Its landmarks, matte, hair and
clothes are found once and kept beside the code, so that drawing a head needs no MediaPipe and gives the same bytes
whichever MediaPipe is installed. Needs MediaPipe <= 0.10.21, which bundles the two models. The seeds of the masks below
were set by hand while looking at the picture.

    python scripts/make_portrait.py
"""

from pathlib import Path

import cv2
import mediapipe
import numpy as np
import torch
from safetensors.torch import save_file
from skimage.data import astronaut

FOLDER = Path(__file__).resolve().parents[1] / "mediakit" / "synthetic"
# Where hair ends and skin begins: down the right side of the head, along the fringe, and up the left side.
FACE = [(182, 118), (181, 98), (183, 84), (186, 74), (192, 78), (204, 80), (222, 80), (240, 83), (255, 88), (266, 90)]
FACE += [(269, 100), (271, 118), (271, 130), (266, 136), (258, 168), (236, 190), (205, 186), (188, 165), (176, 128)]
BEHIND_THE_EAR = [(266, 137), (271, 136), (281, 129), (285, 141), (262, 172), (259, 168)]


def landmarks(image: np.ndarray) -> np.ndarray:
    """The mean of what FaceMesh sees in several enlargements: (478, 3) pixels of the photograph."""
    found = []
    for left, top, side in ((100, 0, 260), (80, 0, 300), (90, 0, 280), (110, 0, 240), (95, 0, 270)):
        view = cv2.resize(
            image[top : top + side, left : left + side], (3 * side, 3 * side), interpolation=cv2.INTER_CUBIC
        )
        with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
            (face,) = mesh.process(view).multi_face_landmarks
        found.append([(p.x * side + left, p.y * side + top, p.z * side) for p in face.landmark])
    return np.mean(found, axis=0)


def guided(mask: np.ndarray, image: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """A mask in [0, 1] made to follow the edges of a gray image in [0, 1] (He et al., guided image filter)."""
    mean = lambda x: cv2.blur(x, (2 * radius + 1, 2 * radius + 1))  # noqa: E731
    slope = (mean(image * mask) - mean(image) * mean(mask)) / (mean(image * image) - mean(image) ** 2 + epsilon)
    offset = mean(mask) - slope * mean(image)
    return np.clip(mean(slope) * image + mean(offset), 0, 1)


def polygon(shape: tuple[int, int], corners: list[tuple[int, int]]) -> np.ndarray:
    """A mask of what lies within some corners (x, y)."""
    return cv2.fillPoly(np.zeros(shape, np.float32), [np.array(corners)], 1.0)


def triangles() -> np.ndarray:
    """The mesh's triangles, (852, 3): MediaPipe lists edges only; a triangle is three of them that enclose no point."""
    edges = {frozenset(edge) for edge in mediapipe.solutions.face_mesh.FACEMESH_TESSELATION}
    near = {i: {j for edge in edges if i in edge for j in edge if j != i} for i in range(468)}
    faces = {frozenset((i, j, k)) for i, j in edges for k in near[i] & near[j]}
    faces -= {frozenset(others) for others in near.values() if len(others) == 3}  # three faces around one point
    return np.array(sorted(sorted(face) for face in faces), np.int32)


def main() -> None:
    """Writes the two files."""
    image = astronaut()
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    with mediapipe.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0) as segmentation:
        person = segmentation.process(image).segmentation_mask.astype(np.float32)
    person = np.clip((person - 0.35) / 0.5, 0, 1)
    person = np.clip((guided(person, gray, 3, 1e-3) - 0.25) / 0.65, 0, 1)
    rows, columns = np.mgrid[: gray.shape[0], : gray.shape[1]]
    person[(rows < 190) & (columns < 110)] = 0  # remnants of the flag and the shuttle
    person[columns > 350 + 0.15 * np.maximum(rows - 240, 0)] = 0
    person *= cv2.GaussianBlur(1 - polygon(gray.shape, BEHIND_THE_EAR), (0, 0), 0.7)

    face = polygon(gray.shape, FACE)
    hair = ((person > 0.3) & (face == 0) & (rows < 131)).astype(np.float32)
    hair[(rows > 118) & (columns > 176) & (columns < 270)] = 0
    hair = guided(hair, gray, 2, 5e-4)
    lightness, _, b = cv2.split(cv2.cvtColor((image / 255).astype(np.float32), cv2.COLOR_RGB2LAB))
    saturation = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1] / 255.0
    suit = ((saturation > 0.55) & (b > 25) & (rows > 195) & (lightness > 20)).astype(np.float32)
    suit = cv2.GaussianBlur(cv2.morphologyEx(suit, cv2.MORPH_CLOSE, np.ones((5, 5))), (0, 0), 0.8)

    masks = np.stack([person, hair * person, suit * person], axis=-1)
    cv2.imwrite(
        str(FOLDER / "portrait.png"), np.rint(255 * masks[..., ::-1]).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    points = torch.from_numpy(landmarks(image)).float()
    faces = torch.from_numpy(triangles())
    # A disk of 468 points, 36 of them on its rim, less two eyes (rings of 16) and a mouth (20): Euler's count.
    assert len(faces) == (2 * 468 - 2 - 36) - 14 - 14 - 18, len(faces)
    save_file(
        {"points": points, "triangles": faces},
        FOLDER / "portrait.safetensors",
        metadata={"detector": f"mediapipe {mediapipe.__version__}"},
    )


if __name__ == "__main__":
    main()
