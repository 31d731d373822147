"""Network cameras on the loopback: MJPEG over HTTP, and RTSP with RTP/JPEG inside its TCP connection (RFC 2326, RFC 2435).

    python -m benchmarks.loopback_cameras mjpeg|rtsp WIDTH HEIGHT RATE_HZ

serves until its standard input is closed, and prints its URL. Each picture carries the time it was sent, so that who receives it
knows how old it is. Faults on demand: stand still, hang up, be away.
"""

import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np

from robot_stack.types import Image

BLOCK, BITS, ROW = 8, 64, 16
"""The time of sending is written as black and white blocks of this many pixels, `ROW` in a row."""


def stamped(picture: Image, t_ns: int) -> Image:
    """`picture` (32 or more, 128 or more, 3) with `t_ns` written into its upper left corner."""
    bits = np.array([(t_ns >> i) & 1 for i in range(BITS)], np.uint8).reshape(-1, ROW) * 255
    picture[: BITS // ROW * BLOCK, : ROW * BLOCK] = np.kron(bits, np.ones((BLOCK, BLOCK), np.uint8))[..., None]
    return picture


def stamp_in(rgb: Image) -> int:
    """The time that `stamped` wrote, after any compression."""
    blocks = rgb[BLOCK // 2 : BITS // ROW * BLOCK : BLOCK, BLOCK // 2 : ROW * BLOCK : BLOCK, 0] > 127
    return sum(int(bit) << i for i, bit in enumerate(blocks.ravel()))


PAYLOAD, YUV420, TABLES_FOLLOW = 1400, 1, 255


class LoopbackCamera:
    """A camera at `url`, for any number of clients, from the start to `close`. `sent_ns`: when it sent the newest picture."""

    def __init__(self, kind: str, width: int = 640, height: int = 480, rate_hz: float = 30.0, port: int = 0) -> None:
        self.sent_ns = 0
        self.running = threading.Event()
        self.running.set()
        self._speak = {"mjpeg": _mjpeg, "rtsp": _rtsp}[kind]
        self.kind, self._size, self._period_s = kind, (width, height), 1.0 / rate_hz
        self._clients: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = port
        self.appear()
        self.url = f"{'http' if kind == 'mjpeg' else 'rtsp'}://127.0.0.1:{self.port}/video"

    def appear(self) -> None:
        """Be there (again), at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def vanish(self) -> None:
        """Hang up on everyone and refuse new connections."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._listener = None
        self.hang_up()

    def hang_up(self) -> None:
        """End every connection; who asks again is served again."""
        for client in list(self._clients):
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        """The end."""
        self.running.set()
        self.vanish()

    def jpegs(self) -> Iterator[bytes]:
        """Pictures of now, at the rate; none while `running` is cleared."""
        width, height = self._size
        noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        picture = np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), noise, 0, 255, cv2.NORM_MINMAX))
        due = time.monotonic()
        while True:
            self.running.wait()
            picture = np.roll(picture, 8, axis=1)
            self.sent_ns = time.monotonic_ns()
            shown = stamped(picture.copy(), self.sent_ns)
            yield cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420])[
                1
            ].tobytes()
            due = max(due + self._period_s, time.monotonic() - self._period_s)
            time.sleep(max(0.0, due - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._clients.add(client)
        try:
            self._speak(self, client)
        except OSError:
            pass
        finally:
            self._clients.discard(client)
            client.close()


def _mjpeg(camera: LoopbackCamera, client: socket.socket) -> None:
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
    for jpeg in camera.jpegs():
        client.sendall(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))


def _rtsp(camera: LoopbackCamera, client: socket.socket) -> None:
    lines = client.makefile("rb")
    sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=loopback\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track\r\n"
    answers = {
        "OPTIONS": ("Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""),
        "DESCRIBE": (f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n", sdp),
        "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", ""),
    }
    while request := list(iter(lambda: lines.readline().decode().strip(), "")):
        method, sequence = request[0].split()[0], next(line for line in request if line.startswith("CSeq"))
        head, body = answers.get(method, ("Session: 1\r\n", ""))
        client.sendall(f"RTSP/1.0 200 OK\r\n{sequence}\r\n{head}\r\n{body}".encode())
        if method == "PLAY":
            break
    else:
        return
    sequence = 0
    for jpeg in camera.jpegs():
        packets = list(_packets(jpeg, sequence, time.monotonic_ns() * 9 // 100_000))
        client.sendall(b"".join(struct.pack(">cBH", b"$", 0, len(packet)) + packet for packet in packets))
        sequence += len(packets)


def _packets(jpeg: bytes, sequence: int, timestamp: int) -> Iterator[bytes]:
    """RFC 2435: the scan in pieces, each behind an RTP header and where it belongs; the quantization tables in the first."""
    tables, scan, width, height = _parts(jpeg)
    for offset in range(0, len(scan), PAYLOAD):
        piece = scan[offset : offset + PAYLOAD]
        last = offset + PAYLOAD >= len(scan)
        rtp = struct.pack(">BBHII", 0x80, 26 | last << 7, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 1)
        where = struct.pack(">IBBBB", offset, YUV420, TABLES_FOLLOW, width // 8, height // 8)
        yield rtp + where + (struct.pack(">HH", 0, len(tables)) + tables if offset == 0 else b"") + piece
        sequence += 1


def _parts(jpeg: bytes) -> tuple[bytes, bytes, int, int]:
    """The quantization tables, the entropy-coded scan, width and height of a baseline JPEG (its Huffman tables are the usual)."""
    at, tables, width, height = 2, b"", 0, 0
    while True:
        marker, length = struct.unpack_from(">HH", jpeg, at)
        body = jpeg[at + 4 : at + 2 + length]
        if marker == 0xFFDB:
            tables += b"".join(body[i + 1 : i + 65] for i in range(0, len(body), 65))
        elif marker == 0xFFC0:
            height, width = struct.unpack_from(">HH", body, 1)
        elif marker == 0xFFDA:
            return tables, jpeg[at + 2 + length : -2], width, height
        at += 2 + length


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:]
    server = LoopbackCamera(kind, int(numbers[0]), int(numbers[1]), float(numbers[2]))
    print(server.url, flush=True)
    sys.stdin.read()
    server.close()
