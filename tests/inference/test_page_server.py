"""The page serves no file of this machine, and takes no upload that could fill it."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("gradio", reason="needs mtlface[demo], which needs Pillow below 13")


@pytest.fixture(scope="module")
def page(trained):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "mtlface.demo", f"checkpoint={trained}", f"port={port}",
         "device=cpu"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for _ in range(120):
        time.sleep(0.5)
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
            break
        except OSError:
            assert server.poll() is None, "the page did not start"
    yield port
    server.terminate()
    server.wait(30)


@pytest.mark.parametrize("path", ["/etc/passwd", "pyproject.toml", "../../../etc/passwd"])
def test_no_file_of_the_machine_is_served(page, path):
    for route in ("file=", "gradio_api/file=", "gradio_api/file%3D", "static/"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{page}/{route}{path}", timeout=10)
        assert refused.value.code in (403, 404, 405)


def test_an_upload_beyond_the_limit_is_refused(page):
    boundary = "mtlface"
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n'
            f"Content-Type: image/png\r\n\r\n"
        ).encode()
        + bytes(2**26)
        + f"\r\n--{boundary}--\r\n".encode()
    )
    connection = http.client.HTTPConnection("127.0.0.1", page, timeout=60)
    try:
        connection.request(
            "POST", "/gradio_api/upload", body,
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )  # fmt: skip
        answer = connection.getresponse()
        assert answer.status in (400, 413), answer.read()[:200]
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused while it was sent


def test_an_url_in_the_place_of_an_image_is_not_fetched_from_this_machine(page):
    data = {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{page}/gradio_api/call/predict",
        json.dumps(data).encode(), {"Content-Type": "application/json"},
    )  # fmt: skip
    try:
        event = json.load(urllib.request.urlopen(request, timeout=20))["event_id"]
        url = f"http://127.0.0.1:{page}/gradio_api/call/predict/{event}"
        said = urllib.request.urlopen(url, timeout=60).read()
        assert b"root:" not in said and b"error" in said
    except urllib.error.HTTPError as error:
        assert error.code >= 400
