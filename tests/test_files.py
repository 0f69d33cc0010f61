"""One file, one array or one clear error: pictures, label maps, videos."""

import struct
import threading
import time
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lib import files
from lib.clips import video as videos
from lib.clips.errors import DataError, DataMissingError
from lib.clips.images import PALETTE, image_size, list_files, read_image, read_label, write_labels
from lib.clips.video import read_video_frame
from lib.config import VOID
from lib.files import replacing
from lib.report.png import write_together


def noise(*shape, high=256, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def png_header(path):
    """(width, height, bit depth, colour type), straight from the bytes."""
    return struct.unpack(">IIBB", path.read_bytes()[16:26])


def grey_png(path, rows, depth):
    """Write a grey PNG of few bits a pixel, which Pillow itself cannot."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    per_byte = 8 // depth
    lines = b""
    for row in rows:
        row = list(row) + [0] * (-len(row) % per_byte)
        lines += b"\0" + bytes(
            sum(v << (8 - depth * (k + 1)) for k, v in enumerate(row[j : j + per_byte]))
            for j in range(0, len(row), per_byte)
        )
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), depth, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def test_palette_is_the_one_of_pascal_voc():
    assert PALETTE.shape == (256, 3) and PALETTE.dtype == np.uint8
    assert PALETTE[[0, 1, 2, 3, 8, 15, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [64, 0, 0],
        [192, 128, 128],
        [224, 224, 192],
    ]


def test_list_files_sorts_naturally_and_ignores_what_is_no_frame(tmp_path):
    for name in ("frame10.png", "frame2.png", "frame1.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert list(list_files(tmp_path)) == ["frame1", "frame2", "frame10"]


def test_two_files_for_one_frame(tmp_path):
    (tmp_path / "1.jpg").touch(), (tmp_path / "1.png").touch()
    with pytest.raises(
        DataError, match=r"1\.png: expected one file per frame, but found 1\.jpg beside it\. Remove one"
    ):
        list_files(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_pictures_of_every_8_bit_mode_become_rgb(tmp_path, mode):
    Image.fromarray(noise(13, 17, 3)).convert(mode).save(tmp_path / "a.png")
    expected = np.array(Image.open(tmp_path / "a.png").convert("RGB"))
    image = read_image(tmp_path / "a.png")
    assert image.shape == (13, 17, 3) and image.dtype == np.uint8 and image.flags.writeable
    assert (image == expected).all() and image_size(tmp_path / "a.png") == (13, 17)


def test_16_bit_picture_is_refused(tmp_path):
    Image.fromarray(noise(13, 17).astype(np.uint16) * 256).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: expected an 8-bit picture, but found mode I;16\. Convert"):
        read_image(tmp_path / "a.png")


def test_rotation_tag_of_a_camera_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # left half white: shown, the upper half
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    image = read_image(tmp_path / "a.jpg")
    assert image_size(tmp_path / "a.jpg") == (32, 16) == image.shape[:2]
    assert image[:12].min() > 200 and image[20:].max() < 50


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.95])
def test_truncated_picture(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(200, 300, 3)).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(
        DataError,
        match=rf"a\.{suffix}: expected a complete image, but found .*truncated or damaged: copy or write it again",
    ):
        read_image(path)


def test_file_that_vanished(tmp_path):
    for read in (read_image, image_size, lambda path: read_label(path, 3)):
        with pytest.raises(
            DataMissingError, match=r"gone\.png: expected an image, but found no such file\. Restore"
        ):
            read(tmp_path / "gone.png")


def test_read_label_by_hand(tmp_path):
    write_labels(tmp_path / "a.png", np.array([[0, 1, 2], [3, 255, 1]], np.uint8))
    assert read_label(tmp_path / "a.png", 3, first=1, voids=(0, 255)).tolist() == [[VOID, 0, 1], [2, VOID, 0]]
    assert read_label(tmp_path / "a.png", 4).tolist() == [[0, 1, 2], [3, VOID, 1]]
    with pytest.raises(
        DataError,
        match=r"a\.png: expected values 0\.\.2 for classes and 255 for none, but found 1 pixels with 3\. Check",
    ):
        read_label(tmp_path / "a.png", 3)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_labels_of_few_bits_keep_their_values(tmp_path, depth):
    rows = noise(13, 17, high=2**depth).tolist()
    grey_png(tmp_path / "a.png", rows, depth)
    assert png_header(tmp_path / "a.png") == (17, 13, depth, 0)
    assert read_label(tmp_path / "a.png", 16).tolist() == rows


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_label_of_another_mode(tmp_path, mode):
    image = (
        Image.fromarray(noise(13, 17).astype(np.uint16))
        if mode == "I;16"
        else Image.fromarray(noise(13, 17, 3)).convert(mode)
    )
    image.save(tmp_path / "a.png")
    with pytest.raises(
        DataError, match=rf"a\.png: expected a label map, .* but found a PNG of mode {mode}\. Store class ids"
    ):
        read_label(tmp_path / "a.png", 124)


def test_label_that_is_a_jpeg_under_another_name(tmp_path):
    Image.fromarray(noise(13, 17)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(DataError, match="found a JPEG of mode L"):
        read_label(tmp_path / "a.png", 124)


def test_truncated_label_never_passes_with_wrong_values(tmp_path):
    labels = noise(300, 400, high=124)  # large enough for several data chunks
    write_labels(tmp_path / "a.png", labels)
    whole = (tmp_path / "a.png").read_bytes()
    cuts = [p for p in range(len(whole)) if whole[p : p + 4] in (b"IDAT", b"IEND")]
    assert len(cuts) >= 3
    for n in [len(whole) // 2, *(p + d for p in cuts for d in (-4, 0, 4, 8))]:
        (tmp_path / "b.png").write_bytes(whole[:n])
        try:
            assert (read_label(tmp_path / "b.png", 124) == labels).all(), n
        except DataError as error:
            assert "b.png" in str(error)
    (tmp_path / "b.png").write_bytes(whole[: cuts[1]])
    with pytest.raises(DataError, match=r"b\.png.*truncated"):
        read_label(tmp_path / "b.png", 124)


@pytest.mark.parametrize("high", [1, 2, 16, 256])  # few values tempt a writer into fewer bits
def test_write_labels_round_trip(tmp_path, high):
    labels = noise(13, 17, high=high)
    write_labels(tmp_path / "new" / "a.png", labels)
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.mode == "P" and (np.array(image) == labels).all()
        assert (np.array(image.convert("RGB")) == PALETTE[labels]).all()
    assert png_header(tmp_path / "new" / "a.png") == (17, 13, 8, 3)
    write_labels(tmp_path / "b.png", labels[:, ::-1], palette=255 - PALETTE)  # a view, other colours
    with Image.open(tmp_path / "b.png") as image:
        assert (np.array(image) == labels[:, ::-1]).all() and (
            np.array(image.convert("RGB")) == 255 - PALETTE[labels[:, ::-1]]
        ).all()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    for text in ("old", "new"):
        with replacing(tmp_path / "folder" / "a.txt") as part:
            part.write_text(text)
    with pytest.raises(KeyboardInterrupt):
        with replacing(tmp_path / "folder" / "a.txt") as part:
            part.write_text("half")
            raise KeyboardInterrupt
    assert contents(tmp_path / "folder") == {"a.txt": "new"}


def test_files_that_belong_together_are_replaced_together(tmp_path):
    write_together(tmp_path, {"a.txt": b"old", "b.txt": b"old"})
    with pytest.raises(TypeError):
        write_together(tmp_path, {"a.txt": b"new", "b.txt": "no bytes"})
    assert contents(tmp_path) == {"a.txt": "old", "b.txt": "old"}


def test_write_labels_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    old = np.zeros((13, 17), np.uint8)
    write_labels(tmp_path / "a.png", old)

    def half(self, path, **_):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="disk full"):
        write_labels(tmp_path / "a.png", old + 1)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"] and (
        read_label(tmp_path / "a.png", 1) == old
    ).all()


@pytest.mark.parametrize(
    "labels", [np.zeros((2, 3), np.int64), np.zeros((2, 3, 1), np.uint8), np.zeros((0, 3), np.uint8)]
)
def test_write_labels_refuses_other_arrays(tmp_path, labels):
    with pytest.raises(ValueError, match=r"a\.png: expected `labels` to be \(H, W\) uint8, but got"):
        write_labels(tmp_path / "a.png", labels)
    with pytest.raises(ValueError, match=r"`palette` to be \(256, 3\) uint8, but got \(3, 3\)"):
        write_labels(tmp_path / "a.png", np.zeros((2, 3), np.uint8), palette=np.zeros((3, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def video(tmp_path):
    """20 frames of 64x96, frame i of grey level 12 i (codecs err by a few), red bar on the left."""
    writer = cv2.VideoWriter(str(tmp_path / "v.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 15, (96, 64))
    for i in range(20):
        frame = np.full((64, 96, 3), 12 * i, np.uint8)
        frame[:, :32] = (0, 0, 255)  # BGR
        writer.write(frame)
    writer.release()
    return tmp_path / "v.mp4"


def level(frame):
    return round(frame[:, 48:].mean() / 12)


def test_video_frames_in_any_order(video):
    assert videos.video_shape(video) == (20, 64, 96)
    for i in (0, 1, 2, 2, 12, 3, 19, 19, 0):
        frame = read_video_frame(video, i)
        assert level(frame) == i and frame.shape == (64, 96, 3)
        assert frame[:, :24, 0].mean() > 200 > 60 > frame[:, :24, 2].mean()  # red, so RGB
    for i in (20, 19):  # past the end, and the capture is sound afterwards
        if i < 20:
            assert level(read_video_frame(video, i)) == i
        else:
            with pytest.raises(
                DataError,
                match=r"v\.mp4: expected frame 20, but found a video that ends before it\. The file",
            ):
                read_video_frame(video, i)


def test_video_in_order_opens_and_decodes_once(video, monkeypatch):
    opened, grabbed = [], []

    class Counting:
        def __init__(self, *args):
            self.capture = capture(*args)
            opened.append(args)

        def grab(self):
            grabbed.append(1)
            return self.capture.grab()

        def retrieve(self):
            return self.capture.retrieve()

    capture = cv2.VideoCapture
    monkeypatch.setattr(videos.cv2, "VideoCapture", Counting)
    videos._video.cache_clear()
    for i in range(20):
        read_video_frame(video, i)
    videos._video.cache_clear()
    assert len(opened) == 1 and len(grabbed) == 20


def test_video_read_by_threads(video):
    wrong = []

    def work(order):
        wrong.extend(i for i in order if level(read_video_frame(video, i)) != i)

    threads = [
        threading.Thread(target=work, args=(order,))
        for order in (range(20), range(0, 20, 3), range(18, 0, -5))
    ]
    [t.start() for t in threads], [t.join() for t in threads]
    assert not wrong


def test_damaged_and_missing_video(video):
    video.write_bytes(video.read_bytes()[:500])
    with pytest.raises(
        DataError, match=r"v\.mp4: expected a video, but found no frame .* convert it to H\.264 mp4"
    ):
        videos.video_shape(video)
    video.unlink()
    with pytest.raises(DataMissingError, match=r"v\.mp4: expected a video, but found no such file"):
        videos.video_shape(video)
    with pytest.raises(DataMissingError, match=r"v\.mp4: expected a video, but found no such file"):
        read_video_frame(video, 0)


def test_only_one_process_at_a_time_holds_a_lock(tmp_path, caplog):
    caplog.set_level("INFO")
    inside, most, lock = [], [], tmp_path / "new" / "work.lock"

    def work():
        with files.one_at_a_time(lock):
            inside.append(1)
            time.sleep(0.05)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1] and "another process is at work there" in caplog.text
    with pytest.raises(ZeroDivisionError), files.one_at_a_time(lock):
        raise ZeroDivisionError
    work()  # the lock was let go
