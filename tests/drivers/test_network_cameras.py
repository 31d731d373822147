"""MJPEG and RTSP cameras on the loopback that stand still, hang up, go away and come back."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from benchmarks.loopback_cameras import LoopbackCamera, stamp_in
from drivers.cameras import open_camera
from drivers.mjpeg_camera import MjpegSource
from robot_stack.camera_device import CameraDevice
from robot_stack.errors import DriverError
from robot_stack.interfaces import Camera
from robot_stack.robot import CameraSpec
from robot_stack.types import CameraFrame


def spec(kind: str, url: str) -> CameraSpec:
    device = CameraDevice(kind, url, silent_s=0.5, retry_s=0.05, retry_most_s=0.2)  # type: ignore[arg-type]
    return CameraSpec("scene", -1, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.8, 160, 120, 30.0, device=device)


@pytest.fixture(params=["mjpeg", "rtsp"])
def server(request: pytest.FixtureRequest) -> Iterator[LoopbackCamera]:
    with closing(LoopbackCamera(request.param, 160, 120)) as camera:
        yield camera


@pytest.fixture
def camera(server: LoopbackCamera) -> Iterator[Camera]:
    with closing(open_camera(spec(server.kind, server.url))) as device:
        yield device


def frame_after(camera: Camera, sent_ns: int) -> CameraFrame:
    """The first frame that was sent after `sent_ns`; errors meanwhile are those of a lost device."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            frame = camera.read()
        except DriverError:
            frame = None
        if frame is not None and stamp_in(frame.rgb) > sent_ns:
            return frame
        time.sleep(0.002)
    raise AssertionError("no such frame within 60 s")


def error_of(camera: Camera) -> str:
    """What the camera says once it is lost."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            camera.read()
        except DriverError as error:
            return str(error)
        time.sleep(0.002)
    raise AssertionError("no error within 60 s")


def test_pictures_come_in_colour_and_in_order(server: LoopbackCamera, camera: Camera) -> None:
    frames = [frame_after(camera, 0) for _ in range(5)]
    sent = [stamp_in(frame.rgb) for frame in frames]
    assert frames[0].rgb.shape == (120, 160, 3)
    assert sent == sorted(sent)
    assert frames[-1].rgb[40:].std() > 10


def test_a_stream_that_stands_still_is_lost_and_flows_again(server: LoopbackCamera, camera: Camera) -> None:
    server.running.clear()
    assert "scene" in error_of(camera)
    resumed_ns = time.monotonic_ns()
    server.running.set()
    frame_after(camera, resumed_ns)


def test_a_connection_that_is_dropped_is_made_again(server: LoopbackCamera, camera: Camera) -> None:
    dropped_ns = time.monotonic_ns()
    server.hang_up()
    frame_after(camera, dropped_ns)


def test_a_camera_that_is_gone_is_said_to_be_and_found_again(server: LoopbackCamera, camera: Camera) -> None:
    server.vanish()
    assert "camera scene: " in error_of(camera)
    back_ns = time.monotonic_ns()
    server.appear()
    frame_after(camera, back_ns)


def test_nobody_at_the_address_is_an_error_with_a_next_step(server: LoopbackCamera) -> None:
    server.vanish()
    with pytest.raises(DriverError, match="scene: .*cannot be opened.*started"):
        open_camera(spec(server.kind, server.url))


def test_of_pictures_that_waited_the_newest_comes_and_is_not_called_new() -> None:
    with closing(LoopbackCamera("mjpeg", 160, 120)) as server:
        source = MjpegSource(spec("mjpeg", server.url).device)
        while source.next() is None:
            pass
        emptied_ns = time.monotonic_ns()
        while server.sent_ns < emptied_ns + 150_000_000:  # some five pictures
            time.sleep(0.005)
        picture = source.next()
        source.close()
    assert picture is not None
    assert stamp_in(picture[1]) > emptied_ns + 60_000_000, "the newest of them, or the one before it"
    assert picture[0] <= emptied_ns, "it may have come as early as then"


class _Locked(http.server.BaseHTTPRequestHandler):
    """One picture, for who knows the password (me:secret)."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != "Basic bWU6c2VjcmV0":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def locked() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Locked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_password_in_the_address_opens_the_camera(locked: str) -> None:
    MjpegSource(CameraDevice("mjpeg", f"http://me:secret@{locked}/video")).close()


def test_a_wrong_password_is_refused_and_not_shown(locked: str) -> None:
    with pytest.raises(DriverError, match="401") as refused:
        MjpegSource(CameraDevice("mjpeg", f"http://me:wrong@{locked}/video"))
    assert "wrong" not in str(refused.value)


def test_a_page_in_the_place_of_a_stream_is_named(locked: str) -> None:
    with pytest.raises(DriverError, match="found an answer of type text"):
        MjpegSource(CameraDevice("mjpeg", f"http://me:secret@{locked}/page"))


@pytest.mark.parametrize(
    ("more", "body", "said"),
    [
        (b"", b"--frame\r\n\r\n\xff\xd8\xff not a picture \xff\xd9", "no picture, allowed JPEG"),
        (b"", b"\xff\xd8\xff\xe0", "the camera hung up"),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n", "is the camera running"),
    ],
)
def test_a_damaged_stream_is_a_lost_camera_and_no_crash(more: bytes, body: bytes, said: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n" + more + b"\r\n"
    opened, held = threading.Event(), list[socket.socket]()

    def serve() -> None:
        client, _ = listener.accept()
        client.recv(65536)
        client.sendall(head)
        opened.wait(60)
        client.sendall(body)
        held.append(client)
        if "hung up" in said:
            client.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        source = MjpegSource(CameraDevice("mjpeg", f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        opened.set()
        with closing(source), pytest.raises(DriverError, match=said):
            while True:
                source.next()


def test_a_time_written_into_a_picture_is_read_again() -> None:
    from benchmarks.loopback_cameras import stamped

    assert stamp_in(stamped(np.zeros((120, 160, 3), np.uint8), 123_456_789_012_345)) == 123_456_789_012_345
