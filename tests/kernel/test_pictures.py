"""Photos as cameras write them: colour profiles and EXIF."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

from vswap_kernel.encode import write_png
from vswap_kernel.pictures import encode_jpeg, read_image


def corners() -> np.ndarray:
    """RGB uint8 [16, 32, 3]: the upper left quarter is red."""
    picture = np.full((16, 32, 3), 200, np.uint8)
    picture[:8, :16] = (200, 0, 0)
    return picture


def png_with_profile(path: Path) -> Path:
    write_png(path, corners())
    data = path.read_bytes()
    content = b"iCCP" + b"a camera's profile\0\0" + zlib.compress(bytes(200))
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    header_end = 8 + 25
    path.write_bytes(data[:header_end] + chunk + data[header_end:])
    return path


def jpeg_turned(path: Path, orientation: int) -> Path:
    """A JPEG whose EXIF says how to turn it."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", 1) + entry + struct.pack(">I", 0)
    body = b"Exif\0\0" + tiff
    data = encode_jpeg(corners())
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])
    return path


def test_a_picture_with_a_colour_profile_does_not_end_the_process(tmp_path: Path) -> None:
    path = png_with_profile(tmp_path / "photo.png")
    script = (
        "import gc, sys\nfrom pathlib import Path\nfrom vswap_kernel.pictures import read_image\n"
        "picture = read_image(Path(sys.argv[1]))\ndel picture\ngc.collect()\nprint('alive')"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "alive\n"), ran.stderr
    np.testing.assert_array_equal(read_image(path)[..., :3], corners())


def is_red(pixels: np.ndarray) -> bool:
    return bool(pixels[..., 0].mean() > 150 and pixels[..., 1].mean() < 50)


def test_a_photo_is_turned_upright_by_its_exif(tmp_path: Path) -> None:
    upright = read_image(jpeg_turned(tmp_path / "1.jpg", 1))
    assert upright.shape == (16, 32, 4)
    assert is_red(upright[:6, :12])
    clockwise = read_image(jpeg_turned(tmp_path / "6.jpg", 6))
    assert clockwise.shape == (32, 16, 4)
    assert is_red(clockwise[:12, -6:])
    mirrored = read_image(jpeg_turned(tmp_path / "2.jpg", 2))
    assert is_red(mirrored[:6, -12:])
