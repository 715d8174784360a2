"""The data room: embedded sets, local copies, downloads that break off, and the resize."""

from __future__ import annotations

import errno
import gzip
import hashlib
import inspect
import io
import json
import pickle
import socket
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewsteps import data
from fewsteps.data import cache, download, images, local
from fewsteps.data.images import area_weights, resize
from fewsteps.errors import DataError, ParameterError

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


@pytest.fixture(autouse=True)
def hermetic(monkeypatch, tmp_path):
    """No folder and no proxy of the machine reaches a test."""
    monkeypatch.delenv("FEWSTEPS_DATA", raising=False)
    monkeypatch.setenv("FEWSTEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def copy(monkeypatch, tmp_path):
    """An empty folder that FEWSTEPS_DATA names."""
    folder = tmp_path / "copy"
    folder.mkdir()
    monkeypatch.setenv("FEWSTEPS_DATA", str(folder))
    return folder


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def as_tensor(pixels):
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)) / 255


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def block_means(pixels, size):
    """(N, S, S, C) uint8 -> (N, C, size, size): every pixel repeated until blocks of whole pixels can be averaged."""
    means = pixels.astype(np.float64)
    for axis in (1, 2):
        side = pixels.shape[axis]
        repeats = size // np.gcd(side, size)
        means = np.repeat(means, repeats, axis)
        shape = (*means.shape[:axis], size, side * repeats // size, *means.shape[axis + 1 :])
        means = means.reshape(shape).mean(axis + 1)
    return torch.from_numpy(means.transpose(0, 3, 1, 2) / 255).float()


# --- embedded sets -------------------------------------------------------------------------------------------------


def test_import_needs_only_torch_numpy_and_pillow():
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torchvision', 'skimage', 'sklearn', 'tqdm', 'scipy'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from fewsteps import data\n"
        "from fewsteps.errors import DataError\n"
        "for name in ('digits', 'mnist'):\n"
        "    try:\n"
        "        data.load(name)\n"
        "    except DataError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert "install scikit-learn" in first
    assert "torchvision: install it, or set FEWSTEPS_DATA" in second


def test_photos_need_no_network(offline):
    photos = data.load("photos")
    assert photos.images.shape == (8, 3, 256, 256) and len(photos) == 8
    assert photos.images.dtype == torch.float32 and photos.images.is_contiguous()
    assert 0 <= photos.images.min() < 0.01 and 0.99 < photos.images.max() <= 1
    assert photos.labels is None
    assert photos.names == ("astronaut", "chelsea", "coffee", "motorcycle_left", "camera", "grass", "gravel", "brick")
    grey = [bool((image == image[:1]).all()) for image in photos.images]
    assert grey == [False] * 4 + [True] * 4
    assert photos.source and "\n" not in photos.source
    assert "(8, 3, 256, 256)" in repr(photos) and "\n" not in repr(photos)


def test_photos_lie_in_the_wheel():
    # A file that some other call had downloaded would not be there on the next machine.
    from importlib.metadata import files

    held = {str(path) for path in files("scikit-image")}
    assert {f"skimage/data/{name}.png" for name in data.load("photos", size=4).names} <= held


@pytest.mark.parametrize("size", [4, 300])
def test_photos_are_area_averages_of_the_central_square(size):
    import skimage

    photos = data.load("photos", size=size)
    for name, image in zip(photos.names, photos.images, strict=True):
        whole = np.asarray(Image.open(Path(skimage.__file__).parent / "data" / f"{name}.png").convert("RGB"))
        side = min(whole.shape[:2])
        top, left = (whole.shape[0] - side) // 2, (whole.shape[1] - side) // 2
        central = whole[top : top + side, left : left + side]
        if size == 300 and side > 500:
            continue  # the repeated pixels of the oracle would take gigabytes
        torch.testing.assert_close(image, block_means(central[None], size)[0], rtol=0, atol=2e-6)


def test_hash_is_of_the_pixels_and_not_of_the_size():
    again, small = data.load("photos"), data.load("photos", "all", 32)
    assert data.load("photos").sha256 == again.sha256 == small.sha256
    digits = data.load("digits")
    assert digits.sha256 == hashlib.sha256((digits.images * 16).to(torch.uint8).numpy().tobytes()).hexdigest()


def test_digits_are_those_of_scikit_learn(offline):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    train, test, both = (data.load("digits", split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(both)) == (1437, 360, 1797)
    assert both.images.shape == (1797, 1, 8, 8) and both.labels.dtype == torch.int64
    assert torch.equal(both.images[:, 0] * 16, torch.from_numpy(bunch.images).float())
    assert torch.equal(both.labels, torch.from_numpy(bunch.target))
    assert torch.equal(torch.cat([train.images, test.images]), both.images)
    assert torch.equal(torch.cat([train.labels, test.labels]), both.labels)
    assert len({train.sha256, test.sha256, both.sha256}) == 3


def test_long_sets_are_converted_in_pieces(monkeypatch):
    whole = data.load("digits", "all", 16).images
    monkeypatch.setattr(images, "PIECE", 100)
    assert torch.equal(data.load("digits", "all", 16).images, whole)


def test_digits_are_enlarged_bilinearly():
    native, large = data.load("digits").images[:20], data.load("digits", size=16).images[:20]
    # Twice the side: new centres lie at 1/4 and 3/4 between old ones, so the inner weights are 9, 3, 3, 1 over 16.
    a, b, c, d = native[..., 2, 3], native[..., 2, 4], native[..., 3, 3], native[..., 3, 4]
    torch.testing.assert_close(large[..., 5, 7], (9 * a + 3 * b + 3 * c + d) / 16)
    assert large.min() == 0 and large.max() == 1


# --- parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("imagenet",), "name must be one of mnist, fashion_mnist, cifar10, lfw, digits, photos, kodak"),
        ((3,), "name must be one of"),
        ((["mnist"],), "name must be one of"),
        (("digits", "valid"), "split must be one of train, test, all for 'digits'"),
        (("digits", None), "split must be one of"),
        (("photos", "test"), "split must be one of train, all for 'photos'"),
        (("kodak", "test"), "split must be one of train, all for 'kodak'"),
        (("photos", "train", 301), "size must be a whole number of pixels from 4 to 300 for 'photos'"),
        (("cifar10", "train", 33), "from 4 to 32 for 'cifar10'"),
        (("digits", "train", 65), "from 4 to 64"),
        (("digits", "train", 3), "size must be a whole number"),
        (("digits", "train", 8.0), "size must be a whole number"),
        (("digits", "train", "8"), "size must be a whole number"),
        (("digits", "train", True), "size must be a whole number"),
    ],
)
def test_unusable_parameters_are_refused(arguments, words, offline):
    # Unwrapped, because the shape checks of the tests would stop a wrong type before the library sees it.
    with pytest.raises(ParameterError, match=words) as caught:
        inspect.unwrap(data.load)(*arguments)
    assert repr(arguments[-1]) in str(caught.value)


def test_numpy_integers_are_sizes():
    assert inspect.unwrap(data.load)("digits", size=np.int64(16)).images.shape[-1] == 16


# --- resize --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "size"), [(32, 16), (28, 14), (28, 8), (32, 12), (64, 27), (9, 7), (5, 4)])
def test_area_average(side, size):
    pixels = random_pixels(3, side, side, 2)
    small = resize(as_tensor(pixels), size)
    assert small.is_contiguous()
    torch.testing.assert_close(small, block_means(pixels, size), rtol=0, atol=1e-6)
    weights = area_weights(side, size)
    torch.testing.assert_close(weights.sum(1), torch.ones(size, dtype=torch.float64))
    torch.testing.assert_close(weights.sum(0), torch.full((side,), size / side, dtype=torch.float64))


def test_white_stays_within_range():
    for size in range(4, 65):
        assert resize(torch.ones(1, 1, 28, 28), size).max() <= 1


# --- local copies --------------------------------------------------------------------------------------------------


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def make_mnist(seed=0, train=12, test=5):
    """The four files of an MNIST-like set, and its arrays by split."""
    rng, content, arrays = np.random.default_rng(seed), {}, {}
    for split, stem, count in (("train", "train", train), ("test", "t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        arrays[split] = images[..., None], labels
        content[f"{stem}-images-idx3-ubyte.gz"] = gzip.compress(idx(images), mtime=0)
        content[f"{stem}-labels-idx1-ubyte.gz"] = gzip.compress(idx(labels), mtime=0)
    return content, arrays


def write_mnist(folder, **named):
    content, arrays = make_mnist(**named)
    folder.mkdir()
    for name, packed in content.items():
        (folder / name).write_bytes(packed)
    return arrays


def write_sheets(folder, stem, pixels, *, columns=4, rows=3, **changes):
    """Contact sheets of `rows` by `columns` tiles, the last one with as many rows as it needs, and their list."""
    folder.mkdir(exist_ok=True)
    side, files = pixels.shape[1], []
    for start in range(0, len(pixels), rows * columns):
        part = pixels[start : start + rows * columns]
        filled = np.zeros((-(-len(part) // columns) * columns, side, side, 3), np.uint8)
        filled[: len(part)] = part
        grid = filled.reshape(-1, columns, side, side, 3).transpose(0, 2, 1, 3, 4).reshape(-1, columns * side, 3)
        files.append(f"{stem}_{len(files):02d}.webp")
        Image.fromarray(grid).save(folder / files[-1], lossless=True, exact=True)
    listing = {"tile": side, "count": len(pixels), "files": files, local.HASH: hashlib.sha256(pixels).hexdigest()}
    (folder / f"{stem}.json").write_text(json.dumps(listing | changes))
    return files


def cifar_arrays(count=30, seed=0):
    """Images sorted by class, each with its label in its first pixel."""
    pixels, labels = random_pixels(count, 32, 32, 3, seed=seed), np.sort(np.arange(count) % 10).astype(np.uint8)
    pixels[:, 0, 0, 0] = labels
    return pixels, labels


def write_cifar(folder, order=slice(None), labels_of=None, **changes):
    arrays = {}
    for seed, split in enumerate(("train", "test")):
        pixels, labels = cifar_arrays(seed=seed)
        arrays[split] = pixels[order], labels[order]
        write_sheets(folder, split, arrays[split][0], **changes)
    np.savez(folder / "labels.npz", **(labels_of or {split: labels for split, (_, labels) in arrays.items()}))
    return arrays


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files(name, copy, offline):
    arrays = write_mnist(copy / name)
    for split, (pixels, labels) in arrays.items():
        images = data.load(name, split)
        assert torch.equal(images.images, as_tensor(pixels))
        assert torch.equal(images.labels, torch.from_numpy(labels.astype(np.int64)))
        assert images.names is None
        assert images.sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
    both = data.load(name, "all")
    assert torch.equal(both.images[:12], data.load(name).images)
    assert torch.equal(both.labels[12:], data.load(name, "test").labels)


def test_mnist_sizes(copy):
    pixels, _ = write_mnist(copy / "mnist")["train"]
    framed = data.load("mnist", size=32).images
    assert torch.equal(framed[..., 2:-2, 2:-2], as_tensor(pixels))
    assert framed.count_nonzero() == np.count_nonzero(pixels)
    torch.testing.assert_close(data.load("mnist", size=14).images, block_means(pixels, 14))
    assert data.load("mnist", size=64).images.shape == (12, 1, 64, 64)


def break_idx(what, folder):
    path = folder / FILES[0]
    if what == "missing":
        path.unlink()
    elif what == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif what == "no gzip":
        path.write_bytes(b"<html>not found</html>")
    elif what == "altered":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    elif what == "magic":
        path.write_bytes(gzip.compress(b"\0\0\x0d\x03" + gzip.decompress(path.read_bytes())[4:]))
    elif what == "header":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:10]))
    elif what == "length":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    elif what == "side":
        path.write_bytes(gzip.compress(idx(random_pixels(12, 20, 20))))
    elif what == "count":
        path.write_bytes(gzip.compress(idx(random_pixels(11, 28, 28))))
    elif what == "empty":
        path.write_bytes(gzip.compress(idx(random_pixels(0, 28, 28))))
        (folder / FILES[1]).write_bytes(gzip.compress(idx(random_pixels(0))))
    return path


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", "is missing"),
        ("truncated", "no complete gzip file"),
        ("no gzip", "no complete gzip file"),
        ("altered", "no complete gzip file"),
        ("magic", "no idx file of unsigned bytes in 3 dimensions"),
        ("header", "no idx file"),
        ("length", "holds 9407 bytes of data where its header says 9408"),
        ("side", "holds images of 20x20 instead of 28x28"),
        ("count", "holds 11 images for 12 labels"),
        ("empty", "holds 0 images for 0 labels"),
    ],
)
def test_damaged_idx_files_are_named(what, words, copy):
    write_mnist(copy / "mnist")
    path = break_idx(what, copy / "mnist")
    with pytest.raises(DataError, match=words) as caught:
        data.load("mnist")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_folder_that_is_none(copy, monkeypatch):
    monkeypatch.setenv("FEWSTEPS_DATA", str(copy / "nowhere"))
    with pytest.raises(DataError, match="which is no folder"):
        data.load("mnist")


def test_cifar10_is_shuffled_the_same_whatever_the_order_of_its_files(copy, offline):
    arrays = write_cifar(copy / "cifar10")
    first = data.load("cifar10")
    assert first.images.shape == (30, 3, 32, 32)
    # Images and labels moved together, nothing was lost, and the classes no longer come in blocks.
    assert torch.equal((first.images[:, 0, 0, 0] * 255).round().long(), first.labels)
    assert sorted(map(bytes, arrays["train"][0])) == sorted(
        image.tobytes() for image in (first.images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    )
    assert (first.labels.diff() < 0).sum() > 5
    assert not torch.equal(first.images, data.load("cifar10", "test").images)

    write_cifar(copy / "cifar10", order=np.random.default_rng(1).permutation(30))
    second = data.load("cifar10")
    assert second.sha256 == first.sha256 and torch.equal(second.labels, first.labels)


def test_lfw_from_sheets(copy, offline, monkeypatch):
    monkeypatch.setattr(local, "LFW_TRAIN", 8)
    pixels = random_pixels(11, 64, 64, 3)
    write_sheets(copy / "lfw64", "faces", pixels)
    train, test = data.load("lfw"), data.load("lfw", "test", 32)
    assert torch.equal(train.images, as_tensor(pixels[:8])) and train.labels is None
    torch.testing.assert_close(test.images, block_means(pixels[8:], 32))
    assert torch.equal(data.load("lfw", "all").images, as_tensor(pixels))
    monkeypatch.setattr(local, "LFW_TRAIN", 11)
    with pytest.raises(DataError, match="lists 11 faces where more than 11 are needed"):
        data.load("lfw", "test")


@pytest.mark.parametrize(
    ("changes", "named", "words"),
    [
        ({local.HASH: "0" * 64}, "train.json", "do not have the sha256"),
        ({"count": 33}, "train.json", "says 33 images where its sheets hold 32"),
        ({"count": 20}, "train.json", "says 20 images where its sheets hold 32"),
        ({"count": "30"}, "train.json", "says '30' images"),
        ({"files": []}, "train.json", "where its sheets hold 0"),
        ({"tile": 16}, "train.json", "tiles of 16 instead of 32"),
        ({"files": None}, "train.json", "no list of contact sheets"),
        ({"files": ["train_00.webp", "gone.webp"]}, "gone.webp", "is missing"),
        ({"labels_of": {"train": np.arange(29) % 10}}, "labels.npz", "label for each of the 30 images"),
        ({"labels_of": {"test": np.arange(30)}}, "labels.npz", "no readable array 'train'"),
        ({"labels_of": {"train": np.array([{}] * 30)}}, "labels.npz", "no readable array 'train'"),
    ],
)
def test_contact_sheets_that_do_not_agree(changes, named, words, copy):
    write_cifar(copy / "cifar10", **changes)
    with pytest.raises(DataError, match=words) as caught:
        data.load("cifar10")
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train.json", None, "is missing"),
        ("train.json", b"{", "no list of contact sheets"),
        ("train_01.webp", None, "is missing"),
        ("train_01.webp", 400, "no readable image"),
        ("train_01.webp", b"RIFF", "no readable image"),
        ("labels.npz", None, "is missing"),
        ("labels.npz", 100, "no readable array"),
    ],
)
def test_damaged_cifar10_files_are_named(name, content, words, copy):
    write_cifar(copy / "cifar10")
    path = copy / "cifar10" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(DataError, match=words) as caught:
        data.load("cifar10")
    assert str(path) in str(caught.value)


def test_kodak(copy, offline):
    folder = copy / "kodak24"
    folder.mkdir()
    ramp = np.arange(512)[:, None] // 3 + np.arange(768)[None, :] // 9
    whole = np.stack([ramp, ramp[::-1], 255 - ramp], -1).astype(np.uint8)
    central = whole[6:506, 134:634]
    for number in range(1, 25):  # the first is an original, the others are the central 500 px
        image = Image.fromarray(whole if number == 1 else central + np.uint8(number))
        image.save(folder / f"kodim{number:02d}.png", compress_level=1)
    kodak = data.load("kodak")
    assert kodak.images.shape == (24, 3, 500, 500) and kodak.labels is None
    assert kodak.names[0] == "kodim01" and kodak.names[23] == "kodim24"
    assert torch.equal(kodak.images[:1], as_tensor(central[None]))
    assert torch.equal(kodak.images[4:5], as_tensor((central + np.uint8(5))[None]))

    Image.fromarray(whole[:499]).save(folder / "kodim07.png")
    with pytest.raises(DataError, match=r"kodim07\.png is smaller than 500x500"):
        data.load("kodak")
    (folder / "kodim07.png").unlink()
    with pytest.raises(DataError, match=r"kodim07\.png is missing"):
        data.load("kodak", size=100)


def test_kodak_is_never_downloaded(offline):
    with pytest.raises(DataError, match="local copy only: set FEWSTEPS_DATA"):
        data.load("kodak")


# --- the cache of decoded arrays -----------------------------------------------------------------------------------


@pytest.fixture
def cached(copy, tmp_path, monkeypatch):
    """CIFAR-10 loaded once; then the file in the cache, what was loaded, and a count of later decodings."""
    write_cifar(copy / "cifar10")
    first = data.load("cifar10")
    count, decode = [], local._decode
    monkeypatch.setattr(local, "_decode", lambda *arguments: count.append(1) or decode(*arguments))
    (path,) = (tmp_path / "cache" / "decoded").iterdir()
    return path, first, count


def test_sheets_are_decoded_once(cached):
    _, first, count = cached
    assert torch.equal(data.load("cifar10").images, first.images) and not count


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("damage", ["cut", "altered", "emptied", "pickled"])
def test_damaged_cache_is_built_again(damage, cached, tmp_path):
    path, first, count = cached
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    with path.open("wb") as file:
        if damage == "pickled":
            np.save(file, np.array([Trap(tmp_path / "trapped")]), allow_pickle=True)
        else:
            file.write({"cut": content[:-100], "altered": content, "emptied": b""}[damage])
    assert data.load("cifar10").sha256 == first.sha256 and len(count) == 1
    assert data.load("cifar10").sha256 == first.sha256 and len(count) == 1
    assert list(path.parent.iterdir()) == [path]
    assert not (tmp_path / "trapped").exists()


def test_cache_follows_its_source(copy):
    # Without a hash in the list, which then does not change: the sheets themselves have to be looked at.
    pixels = write_cifar(copy / "cifar10", **{local.HASH: None})["train"][0].copy()
    first = data.load("cifar10")
    pixels[3, 5, 5] ^= 255
    write_sheets(copy / "cifar10", "train", pixels, **{local.HASH: None})
    assert data.load("cifar10").sha256 != first.sha256


def test_cache_that_cannot_be_written_costs_only_time(copy, tmp_path):
    write_cifar(copy / "cifar10")
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="set FEWSTEPS_CACHE"):
        assert len(data.load("cifar10")) == 30


def test_full_disk_leaves_no_half_array(monkeypatch, tmp_path):
    def save(file, array, allow_pickle):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    with pytest.warns(UserWarning, match="No space left"):
        cache.decoded("key", lambda: np.zeros(3, np.uint8))
    assert not list((tmp_path / "cache" / "decoded").iterdir())


# --- downloads -----------------------------------------------------------------------------------------------------


class Mirror:
    """A web server on this machine: it holds `files`, logs (path, Range), and can cut the first answer for a file."""

    def __init__(self):
        self.files, self.log, self.cut, self.ranges = {}, [], {}, True
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name, wanted = self.path.rsplit("/", 1)[-1], self.headers.get("Range")
                mirror.log.append((self.path, wanted))
                content = mirror.files.get(name)
                if content is None or self.path.startswith("/gone/"):
                    return self.send_error(404)
                start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and mirror.ranges else 0
                if start and start >= len(content):
                    return self.send_error(416)
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.end_headers()
                self.wfile.write(content[start : mirror.cut.pop(name, None)])

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def asked(self, name):
        return [wanted for path, wanted in self.log if path.endswith("/" + name)]


@pytest.fixture
def mirror():
    mirror = Mirror()
    yield mirror
    mirror.server.shutdown()
    mirror.server.server_close()


@pytest.fixture
def mnist(mirror, monkeypatch):
    """torchvision's MNIST class, pointed at the server and at files made here; their arrays by split."""
    from torchvision.datasets import MNIST

    content, arrays = make_mnist(train=200)
    mirror.files.update(content)
    monkeypatch.setattr(MNIST, "mirrors", [mirror.address])
    monkeypatch.setattr(MNIST, "resources", [(name, md5(content[name])) for name in FILES])
    return arrays


def raw(tmp_path):
    return tmp_path / "cache" / "mnist" / "MNIST" / "raw"


def leftovers(tmp_path):
    return [path for path in tmp_path.rglob("*") if ".part" in path.name]


def test_download(mnist, mirror, tmp_path, capfd):
    for split, (pixels, labels) in mnist.items():
        images = data.load("mnist", split)
        assert torch.equal(images.images, as_tensor(pixels))
        assert images.labels.tolist() == labels.tolist()
    # One request per file for both splits, and no progress on a log that nobody watches.
    assert [path for path, _ in mirror.log] == ["/" + name for name in FILES]
    assert not leftovers(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_fashion_mnist_is_its_own_class(mnist, mirror, monkeypatch, tmp_path):
    from torchvision.datasets import MNIST, FashionMNIST

    monkeypatch.setattr(FashionMNIST, "mirrors", MNIST.mirrors)
    monkeypatch.setattr(FashionMNIST, "resources", MNIST.resources)
    monkeypatch.setattr(MNIST, "mirrors", [])
    assert torch.equal(data.load("fashion_mnist").images, as_tensor(mnist["train"][0]))
    assert (tmp_path / "cache" / "fashion_mnist" / "FashionMNIST" / "raw").is_dir()


def test_connection_that_is_cut_is_resumed(mnist, mirror, tmp_path):
    mirror.cut[FILES[0]] = 1000
    assert torch.equal(data.load("mnist").images, as_tensor(mnist["train"][0]))
    assert mirror.asked(FILES[0]) == [None, "bytes=1000-"]
    assert (raw(tmp_path) / FILES[0]).read_bytes() == mirror.files[FILES[0]]


def test_server_that_ignores_range(mnist, mirror, tmp_path):
    mirror.ranges, mirror.cut[FILES[0]] = False, 1000
    assert torch.equal(data.load("mnist").images, as_tensor(mnist["train"][0]))
    assert mirror.asked(FILES[0]) == [None, "bytes=1000-"]
    assert (raw(tmp_path) / FILES[0]).read_bytes() == mirror.files[FILES[0]]


@pytest.mark.parametrize("have", [1, 5000, None])
def test_later_call_continues_a_partial_file(have, mnist, mirror, tmp_path):
    content = mirror.files[FILES[0]]
    raw(tmp_path).mkdir(parents=True)
    (raw(tmp_path) / (FILES[0] + ".part")).write_bytes(content[:have])
    assert torch.equal(data.load("mnist").images, as_tensor(mnist["train"][0]))
    assert mirror.asked(FILES[0]) == [f"bytes={have or len(content)}-"]
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("length", [100, 10**6])
def test_partial_file_of_something_else_is_dropped(length, mnist, mirror, tmp_path):
    raw(tmp_path).mkdir(parents=True)
    (raw(tmp_path) / (FILES[0] + ".part")).write_bytes(b"x" * length)
    assert torch.equal(data.load("mnist").images, as_tensor(mnist["train"][0]))
    assert mirror.asked(FILES[0]) == [f"bytes={length}-", None]


def test_damaged_download_is_fetched_again(mnist, mirror, tmp_path):
    raw(tmp_path).mkdir(parents=True)
    (raw(tmp_path) / FILES[0]).write_bytes(b"half a file of an older program")
    assert torch.equal(data.load("mnist").images, as_tensor(mnist["train"][0]))


def test_wrong_checksum_is_refused_and_removed(mnist, mirror, tmp_path):
    mirror.files[FILES[0]] += b"more"
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz could not be downloaded \(wrong checksum\)"):
        data.load("mnist")
    assert not list(raw(tmp_path).iterdir())


def test_next_mirror_is_tried(mnist, mirror, monkeypatch):
    from torchvision.datasets import MNIST

    with socket.socket() as unused:  # bound and never listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        monkeypatch.setattr(MNIST, "mirrors", [closed, mirror.address + "gone/", mirror.address])
        assert len(data.load("mnist")) == 200
    assert mirror.log[0][0].startswith("/gone/")


def test_every_mirror_fails(mnist, mirror, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [mirror.address + "gone/"])
    with pytest.raises(DataError, match="HTTP status 404"):
        data.load("mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_offline(name, offline):
    with pytest.raises(
        DataError, match=r"Network is unreachable.*connect this machine.*or set FEWSTEPS_DATA"
    ) as caught:
        data.load(name)
    assert str(caught.value).count(". ") == 0 and "\n" not in str(caught.value)


def test_network_that_breaks_for_good_leaves_only_a_partial_file(mnist, mirror, monkeypatch, tmp_path):
    mirror.ranges = False
    content, cut = mirror.files[FILES[0]], 1000

    class Always(dict):
        def pop(self, name, default=None):
            return cut

    mirror.cut = Always()
    with pytest.raises(DataError, match="the connection was cut"):
        data.load("mnist")
    (part,) = raw(tmp_path).iterdir()
    assert part.name == FILES[0] + ".part" and part.read_bytes() == content[:cut]


@contextmanager
def full_disk(monkeypatch, room):
    """Files that `download` writes take `room` bytes, and then the disk is full."""
    written = 0

    class Full(io.FileIO):
        def write(self, chunk):
            nonlocal written
            if written + len(chunk) > room:
                super().write(bytes(chunk)[: room - written])
                raise OSError(errno.ENOSPC, "No space left on device")
            written += len(chunk)
            return super().write(chunk)

    with monkeypatch.context() as patch:
        patch.setattr(download, "open", lambda path, mode: (open if mode == "rb" else Full)(path, mode), False)
        patch.setattr(download, "CHUNK", 512)
        yield


def test_full_disk(mnist, mirror, monkeypatch, tmp_path):
    with (
        full_disk(monkeypatch, 2000),
        pytest.raises(DataError, match="is full: free some space, or set FEWSTEPS_CACHE") as caught,
    ):
        data.load("mnist")
    assert str(raw(tmp_path)) in str(caught.value)
    assert not list(raw(tmp_path).iterdir())
    assert len(data.load("mnist")) == 200


def test_full_disk_while_unpacking(mnist, monkeypatch, tmp_path):
    import torchvision.datasets.utils as utils

    def extract(archive, folder):
        Path(folder, Path(archive).stem).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(utils, "extract_archive", extract)
        with pytest.raises(DataError, match="is full"):
            data.load("mnist")
    assert [path.name for path in raw(tmp_path).iterdir()] == [FILES[0]]
    assert len(data.load("mnist")) == 200


def test_cache_folder_that_cannot_be_written(monkeypatch, tmp_path, offline):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FEWSTEPS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cannot be written .*: set FEWSTEPS_CACHE to a folder that can"):
        data.load("mnist")


def test_damaged_files_in_the_cache(mnist, tmp_path):
    data.load("mnist")
    path = raw(tmp_path) / FILES[0].removesuffix(".gz")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="delete that folder and load again"):
        data.load("mnist")


def test_archive_that_lacks_its_file(mirror, monkeypatch, tmp_path):
    from torchvision.datasets import CIFAR10

    content = tar_gz({"other/file": b"content"})
    mirror.files["c.tar.gz"] = content
    monkeypatch.setattr(CIFAR10, "url", mirror.address + "c.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(content))
    with pytest.raises(DataError, match="cannot be unpacked: delete it and load again"):
        data.load("cifar10")
    assert not leftovers(tmp_path)


def tar_gz(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def test_cifar10_through_torchvision_equals_the_local_copy(mirror, monkeypatch, copy, tmp_path):
    from torchvision.datasets import CIFAR10

    write_cifar(copy / "cifar10")
    by_copy = {split: data.load("cifar10", split) for split in ("train", "test")}

    batches = {}
    for seed, (split, name) in enumerate((("train", "data_batch_1"), ("test", "test_batch"))):
        pixels, labels = cifar_arrays(seed=seed)
        order = np.random.default_rng(7).permutation(len(labels))  # the publisher's order is another one
        planes = pixels[order].transpose(0, 3, 1, 2).reshape(len(order), -1)
        batches[name] = pickle.dumps({"data": planes, "labels": labels[order].tolist()})
        monkeypatch.setattr(CIFAR10, f"{split}_list", [[name, md5(batches[name])]])
    batches["batches.meta"] = pickle.dumps({"label_names": ["a"] * 10})
    content = tar_gz({f"{CIFAR10.base_folder}/{name}": batch for name, batch in batches.items()})
    mirror.files["cifar.tar.gz"] = content
    monkeypatch.setattr(CIFAR10, "url", mirror.address + "cifar.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(content))
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(batches["batches.meta"])})

    monkeypatch.delenv("FEWSTEPS_DATA")
    mirror.cut["cifar.tar.gz"] = 20_000
    for split, expected in by_copy.items():
        images = data.load("cifar10", split)
        assert images.sha256 == expected.sha256
        assert torch.equal(images.images, expected.images) and torch.equal(images.labels, expected.labels)
    assert mirror.log == [("/cifar.tar.gz", None), ("/cifar.tar.gz", "bytes=20000-")]
    assert not leftovers(tmp_path)


def jpeg(seed):
    out = io.BytesIO()
    Image.fromarray(random_pixels(250, 250, 3, seed=seed)).save(out, "JPEG", quality=92)
    return out.getvalue()


def test_lfw_through_torchvision(mirror, monkeypatch, tmp_path):
    from torchvision.datasets import LFWPeople

    people = {"Ada_L": 2, "Bob_M": 1, "Cy_N": 1}
    photographs = {
        f"lfw-deepfunneled/{person}/{person}_{number:04d}.jpg": jpeg(10 * index + number)
        for index, (person, count) in enumerate(people.items())
        for number in range(1, count + 1)
    }
    mirror.files = {
        "lfw-names.txt": b"".join(f"{person}\t{count}\n".encode() for person, count in people.items()),
        "peopleDevTrain.txt": b"2\nAda_L\t2\nBob_M\t1\n",
        "peopleDevTest.txt": b"1\nCy_N\t1\n",
        "faces.tgz": tar_gz(photographs),
    }
    sums = {name: md5(content) for name, content in mirror.files.items()}
    monkeypatch.setattr(LFWPeople, "download_url_prefix", mirror.address)
    monkeypatch.setattr(LFWPeople, "checksums", sums)
    monkeypatch.setattr(LFWPeople, "file_dict", {"deepfunneled": ("lfw-deepfunneled", "faces.tgz", sums["faces.tgz"])})

    both = data.load("lfw", "all")
    assert both.images.shape == (4, 3, 64, 64) and both.labels is None
    for image, photograph in zip(both.images, photographs.values(), strict=True):
        central = np.asarray(Image.open(io.BytesIO(photograph)))[61:189, 61:189]
        exact = block_means(central[None], 64)[0]
        assert (image - exact).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(data.load("lfw", "test").images, both.images[3:])
    asked = len(mirror.log)
    # The decoded faces are kept, so a later load needs neither the server nor the photographs.
    (tmp_path / "cache" / "lfw" / "lfw-py" / "faces.tgz").unlink()
    assert data.load("lfw").sha256 == data.load("lfw").sha256 and len(mirror.log) == asked == 4


def test_lfw_says_what_to_place_by_hand(offline):
    with pytest.raises(DataError, match=r"place lfw-deepfunneled\.tgz, .* by hand, or set FEWSTEPS_DATA"):
        data.load("lfw")


def test_progress_is_a_bar_on_a_terminal_and_rare_lines_elsewhere(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, expected in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with download._progress("file", 0, 10_000) as bar:
            for _ in range(10_000):
                bar.update(1)
        assert ("file" in stream.getvalue()) is expected

    monkeypatch.setattr(download, "SLOW_S", 0.05)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with download._progress("file", 0, 300) as bar:
        for _ in range(300):
            bar.update(1)
            time.sleep(0.001)
    assert 1 < stream.getvalue().count("\r") < 60


def test_one_download_at_a_time(mnist, mirror, tmp_path):
    pytest.importorskip("fcntl")
    with cache.alone(tmp_path / "cache" / "mnist"):  # as another process would
        thread = threading.Thread(target=data.load, args=("mnist",))
        thread.start()
        time.sleep(0.3)
        assert not mirror.log
    thread.join(10)
    assert len(mirror.log) == 4


def test_patches_are_cut_from_everywhere():
    """Each patch is a window of one image, and every position is as likely as any other."""
    images = torch.arange(2 * 5 * 6, dtype=torch.float64).reshape(2, 5, 6)
    cut = data.patches(images, 3, 6000, torch.Generator().manual_seed(0))
    corner = cut[:, 0, 0].long()
    assert torch.equal(cut - cut[:, :1, :1], (images[0, :3, :3] - images[0, 0, 0]).expand(6000, 3, 3))
    counts = torch.bincount(corner, minlength=60).reshape(2, 5, 6)
    allowed = counts[:, :3, :4]
    assert int(allowed.sum()) == 6000
    # 24 positions, 250 expected each, standard deviation below 16
    assert (allowed - 250).abs().max() < 5 * 16


def test_at_hand_tells_what_needs_no_download(monkeypatch, tmp_path):
    monkeypatch.delenv("FEWSTEPS_DATA", raising=False)
    monkeypatch.setenv("FEWSTEPS_CACHE", str(tmp_path))
    assert data.at_hand("digits") and data.at_hand("photos")
    assert not data.at_hand("mnist") and not data.at_hand("kodak")
    (tmp_path / "mnist/MNIST/raw").mkdir(parents=True)
    assert data.at_hand("mnist")
    monkeypatch.setenv("FEWSTEPS_DATA", str(tmp_path))
    assert data.at_hand("cifar10")
    with pytest.raises(ParameterError, match="name must be one of"):
        data.at_hand("imagenet")


def test_classes_have_names_in_the_order_of_their_labels():
    """As torchvision calls them, but for capitals and a slash."""
    from torchvision.datasets import FashionMNIST

    theirs = [name.lower().replace("t-shirt/top", "t-shirt or top") for name in FashionMNIST.classes]
    assert [name.lower() for name in data.class_names("fashion_mnist")] == theirs
    assert data.class_names("digits") == data.class_names("mnist") == tuple("0123456789")
    assert len(set(data.class_names("cifar10"))) == 10 and data.class_names("photos") == ()
    with pytest.raises(ParameterError):
        data.class_names("imagenet")
