"""Any folder of images becomes one array of small squares."""

import numpy as np
import pytest
from PIL import Image

from lib.folder import read_folder


def write(path, pixels, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path, **settings)


def test_the_box_average_of_the_central_square_by_hand(tmp_path):
    corners = np.arange(4 * 4 * 3).reshape(4, 4, 3)  # one value for each cell of 2x2
    tall = np.full((12, 8, 3), 255)
    tall[2:10] = corners.repeat(2, 0).repeat(2, 1)
    write(tmp_path / "tall.png", tall)
    write(tmp_path / "wide.png", tall.transpose(1, 0, 2))
    images = read_folder(tmp_path, size=4)
    assert images.dtype == np.uint8
    assert np.array_equal(images[0], corners.transpose(2, 0, 1))
    assert np.array_equal(images[1], corners.transpose(2, 1, 0))
    assert read_folder(tmp_path, size=2)[0, 0].tolist() == [[8, 14], [32, 38]]  # 7.5 and its like round up


def test_images_are_sorted_by_name_whatever_their_format_and_depth(tmp_path):
    for level, name in enumerate(["00/b.JPG", "00/c.png", "01/a.webp", "z.jpeg"]):
        write(tmp_path / name, np.full((16, 16, 3), 40 * level))
    write(tmp_path / ".thumbnails" / "a.png", np.full((16, 16, 3), 250))
    (tmp_path / "readme.txt").write_text("no image")
    images = read_folder(tmp_path, size=8)
    assert images.shape == (4, 3, 8, 8)
    assert images.mean((1, 2, 3)) == pytest.approx([0, 40, 80, 120], abs=2)
    assert len(read_folder(tmp_path, size=8, limit=2)) == 2


def test_grey_images_and_turned_photographs_come_out_as_seen(tmp_path):
    write(tmp_path / "a.png", np.full((8, 8), 7))
    sky = np.zeros((16, 16, 3))
    sky[:8] = 200
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    write(tmp_path / "b.png", sky[::-1], exif=exif)
    grey, photograph = read_folder(tmp_path, size=8)
    assert (grey == 7).all()
    assert photograph[:, :4].min() == 200


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .*faces does not exist: create it"):
        read_folder(tmp_path / "faces")
    with pytest.raises(FileNotFoundError, match="holds no png, jpg or webp image"):
        read_folder(tmp_path)
    write(tmp_path / "small.png", np.zeros((9, 7, 3)))
    with pytest.raises(ValueError, match=r"small.png is 7x9, below 8 pixels"):
        read_folder(tmp_path, size=8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_truncated_image_is_named(tmp_path, suffix):
    path = tmp_path / f"face.{suffix}"
    write(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"face.{suffix} is truncated or not an image"):
        read_folder(tmp_path, size=8)
    path.write_text("not an image at all")
    with pytest.raises(ValueError, match=rf"face.{suffix} is truncated or not an image"):
        read_folder(tmp_path, size=8)
