"""CelebA's official layout, in small: whole, and broken in each way a download can be."""

import numpy as np
import pytest
from PIL import Image

from lib import celeba, data, features

# As the official file has them, with a space at the end.
HEADER = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Blurry "
    "Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young "
)
PARTITION = [0, 0, 0, 1, 0, 2, 2, 1]  # the official one is sorted; the reader must not rely on it


def smooth_face(rng):
    """A random smooth image of CelebA's size."""
    noise = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((178, 218), Image.Resampling.BICUBIC)


@pytest.fixture
def values():
    """Eight rows of forty 1 or -1."""
    return np.random.default_rng(0).choice([-1, 1], (8, 40))


@pytest.fixture
def folder(tmp_path, values):
    """Eight images in exactly the official format."""
    folder, rng = tmp_path / "celeba", np.random.default_rng(1)
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06d}.jpg" for number in range(1, 9)]
    for name in names:
        smooth_face(rng).save(folder / "img_align_celeba" / name, quality=90)
    rows = [f"{name} " + " ".join(f"{value:2d}" for value in row) for name, row in zip(names, values, strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\n".join(["8", HEADER, *rows]) + "\n")
    parts = [f"{name} {part}" for name, part in zip(names, PARTITION, strict=True)]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return folder


def altered(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_images_attributes_and_partition_are_those_of_the_files(folder, values):
    dataset = celeba.read_celeba(folder)
    order = [0, 1, 2, 3, 4, 7, 5, 6]  # train and validation, then test
    assert dataset.images.shape == (8, 3, 64, 64)
    assert dataset.images.dtype == np.uint8
    assert dataset.train.tolist() == [True] * 6 + [False] * 2
    assert list(dataset.table) == HEADER.split()
    for column, name in enumerate(HEADER.split()):
        assert np.array_equal(dataset.table[name], values[order, column] == 1)


def test_the_crop_is_the_central_square_of_178_pixels(folder):
    with Image.open(folder / "img_align_celeba" / "000008.jpg") as file:
        pixels = np.asarray(file).astype(float)
    image = celeba.read_celeba(folder).images[5].transpose(1, 2, 0)
    for row, column in [(0, 0), (0, 63), (31, 40), (63, 63)]:
        # The 178 / 64 pixels under this one; smooth images hardly change within one.
        top, left = 20 + row * 178 / 64, column * 178 / 64
        patch = pixels[int(top) : int(top + 178 / 64) + 1, int(left) : int(left + 178 / 64) + 1]
        assert image[row, column] == pytest.approx(patch.mean((0, 1)), abs=4)


def test_a_limit_keeps_the_first_of_each_part_and_opens_no_other_image(folder):
    whole = celeba.read_celeba(folder)
    for number in (3, 4, 5, 7, 8):
        (folder / "img_align_celeba" / f"{number:06d}.jpg").unlink()
    few = celeba.read_celeba(folder, n_train=2, n_test=1)
    assert few.train.tolist() == [True, True, False]
    assert np.array_equal(few.images, whole.images[[0, 1, 6]])
    assert np.array_equal(few.table["Bangs"], whole.table["Bangs"][[0, 1, 6]])


def test_the_dataset_survives_a_file(folder, tmp_path):
    dataset = celeba.read_celeba(folder)
    data.save(tmp_path / "d.npz", dataset)
    assert np.array_equal(data.load(tmp_path / "d.npz").table["5_o_Clock_Shadow"], dataset.table["5_o_Clock_Shadow"])


def test_every_attribute_is_a_target_feature_and_a_beard_is_the_lack_of_none(folder, values):
    dataset = celeba.read_celeba(folder)
    images = data.to_float(dataset.images)
    assert len(features.FEATURES["celeba"]) == 41
    for name, attribute in [("bangs", "Bangs"), ("wearing-hat", "Wearing_Hat"), ("5-o-clock-shadow", "5_o_Clock_Shadow")]:
        feature = features.named("celeba", name)
        has = feature.score(images, dataset.table) >= features.cutoff(feature, images, dataset.table)
        assert np.array_equal(has, dataset.table[attribute] == 1)
    beard = features.named("celeba", "beard").score(images, dataset.table)
    assert np.array_equal(beard, values[[0, 1, 2, 3, 4, 7, 5, 6], HEADER.split().index("No_Beard")] == -1)
    assert features.named("celeba", "wearing-hat").title == "wearing hat"


def test_an_unknown_feature_gets_the_nearest_names_and_not_all():
    with pytest.raises(ValueError, match=r"'Eye_glasses' is unknown for celeba: choose one of eyeglasses, ") as caught:
        features.named("celeba", "Eye_glasses")
    assert "the other 38 in lib/features.py" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_missing_folder_says_where_to_put_celeba(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .*data/celeba is missing: get CelebA from .*download\("):
        celeba.read_celeba(tmp_path / "data" / "celeba")


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"])
def test_a_missing_part_is_named_with_the_remedy(folder, name):
    (folder / name).rename(folder / "elsewhere")
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing: get CelebA from"):
        celeba.read_celeba(folder)


def test_an_image_that_is_listed_but_absent_is_named(folder):
    (folder / "img_align_celeba" / "000004.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"000004.jpg is listed in list_attr_celeba.txt but absent: get CelebA"):
        celeba.read_celeba(folder)


def test_a_truncated_image_is_named(folder):
    path = folder / "img_align_celeba" / "000003.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"000003.jpg is truncated or not an image: restore or remove it"):
        celeba.read_celeba(folder)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("8\n", "9\n", "announces 9 images and lists 8: get CelebA"),
        (" Bangs ", " Fringe ", "line 2, has the unknown attribute Fringe: get CelebA"),
        (" Bangs Big_Lips ", " Big_Lips Bangs ", "line 2, has not the 40 attributes in their order"),
        ("000002.jpg", "000002.jpg  1", "line 4, is not a name and 40 values"),
        ("000003.jpg", "000003.jpg  0 #", "line 5, is not a name and 40 values"),
    ],
)
def test_a_broken_attribute_file_is_named_with_the_line(folder, old, new, sentence):
    altered(folder / "list_attr_celeba.txt", old, new)
    with pytest.raises(ValueError, match=rf"list_attr_celeba.txt,? {sentence}"):
        celeba.read_celeba(folder)


@pytest.mark.parametrize("kept", [0, 300, 1000])
def test_a_truncated_attribute_file_is_named(folder, kept):
    path = folder / "list_attr_celeba.txt"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"list_attr_celeba.txt announces .* images and lists \d"):
        celeba.read_celeba(folder)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("000008.jpg 1\n", "", " lists 7 images and list_attr_celeba.txt 8"),
        ("000002.jpg 0", "000002.jpg 3", ", line 2, is not 000002.jpg and 0, 1 or 2"),
        ("000003.jpg 0", "000033.jpg 0", ", line 3, is not 000003.jpg and 0, 1 or 2"),
    ],
)
def test_a_broken_partition_file_is_named(folder, old, new, sentence):
    altered(folder / "list_eval_partition.txt", old, new)
    with pytest.raises(ValueError, match=f"list_eval_partition.txt{sentence}"):
        celeba.read_celeba(folder)


@pytest.mark.parametrize(("kept", "missing"), [("2", "train"), ("0", "test")])
def test_a_partition_of_one_part_is_named(folder, kept, missing):
    path = folder / "list_eval_partition.txt"
    path.write_text("".join(f"{line.split()[0]} {kept}\n" for line in path.read_text().splitlines()))
    with pytest.raises(ValueError, match=f"list_eval_partition.txt has no image to {missing} with"):
        celeba.read_celeba(folder)


def test_the_download_is_torchvisions_into_the_same_folder(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("torchvision.datasets.CelebA.__init__", lambda self, root, download: calls.append((root, download)))
    celeba.download(str(tmp_path / "celeba"))
    assert calls == [(tmp_path, True)]
    with pytest.raises(ValueError, match="must be called celeba"):
        celeba.download(tmp_path / "faces")


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    def refuse(self, root, download):
        raise RuntimeError("no route to host.\nmore lines")

    monkeypatch.setattr("torchvision.datasets.CelebA.__init__", refuse)
    with pytest.raises(RuntimeError, match=r"could not be downloaded \(no route to host\): get it from .*celeba\.$"):
        celeba.download(tmp_path / "celeba")
