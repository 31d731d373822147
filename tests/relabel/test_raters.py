"""Raters: a rule, a model behind an HTTP server that speaks chat completions, a person at a page."""

import http.client
import json
import subprocess
import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from robot_stack.config.relabel import PreferenceSettings
from robot_stack.errors import ConfigError
from robot_stack.relabel.preferences import pictures
from robot_stack.relabel.rater_page import BrowserRater
from robot_stack.relabel.raters import Answer, ModelRater, RuleRater, Scene, make_rater
from tests.data.made_up import recording

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_S = 60.0


def scene(name="one", start=0, stop=20, **said):
    episode = recording(name)
    episode = replace(episode, constants={**episode.constants, **said})
    return Scene(episode, start, stop, partial(pictures, episode, start, stop, ""))


def test_a_rule_prefers_the_clip_with_more_of_a_number_or_a_column():
    rule = RuleRater("success")
    assert rule.rate(scene(success=True), scene(success=False)) is Answer.LEFT
    assert rule.rate(scene(success=1), scene(success=1)) is Answer.EQUAL
    assert rule.rate(scene(), scene(success=1)) is Answer.SKIP
    rising = RuleRater("timestamp")
    assert rising.rate(scene(start=0, stop=10), scene(start=10, stop=20)) is Answer.RIGHT
    assert rule.counts == {"left": 1, "equal": 1, "skip": 1}


@pytest.fixture
def model():
    """A local server that speaks chat completions: `server.says(request) -> (status, body)` may be changed; `server.heard`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.heard.append((self.path, request))
            status, body = self.server.says(request)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.heard, server.says = [], lambda request: (200, spoken("LEFT"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def spoken(text):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


def asking(model, timeout_s=PATIENCE_S):
    return ModelRater(f"http://127.0.0.1:{model.server_port}/v1", "eyes", "Which is nearer?", 3, timeout_s)


def test_a_model_is_sent_both_clips_as_pictures_and_its_word_counts(model):
    rater = asking(model)
    assert rater.rate(scene(), scene("two")) is Answer.LEFT
    path, request = model.heard[0]
    content = request["messages"][0]["content"]
    images = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert path == "/v1/chat/completions" and request["model"] == "eyes" and request["temperature"] == 0
    assert len(images) == 6 and all(url.startswith("data:image/jpeg;base64,/9j/") for url in images)
    assert "Which is nearer?" in content[0]["text"]


@pytest.mark.parametrize(("text", "answer"), [("right", Answer.RIGHT), (" Equal.\n", Answer.EQUAL), ("It is LEFT.", Answer.LEFT)])
def test_a_models_word_is_read_in_any_case_and_sentence(model, text, answer):
    model.says = lambda request: (200, spoken(text))
    assert asking(model).rate(scene(), scene("two")) is answer


@pytest.mark.parametrize(
    ("status", "body", "counted"),
    [
        (200, spoken("LEFT or RIGHT"), "skip: no answer"),
        (200, spoken("The robot is blue, upright"), "skip: no answer"),
        (200, b"<html>", "skip: JSONDecodeError"),
        (200, b'{"choices": []}', "skip: IndexError"),
        (200, b'{"error": "no such model"}', "skip: KeyError"),
        (200, spoken(None), "skip: no answer"),
        (500, b"out of memory", "skip: HTTPError"),
    ],
)
def test_nonsense_and_errors_of_a_model_are_skipped_and_counted(model, status, body, counted):
    model.says = lambda request: (status, body)
    rater = asking(model)
    assert rater.rate(scene(), scene("two")) is Answer.SKIP
    assert rater.counts == {counted: 1}


def test_a_model_that_is_silent_or_not_there_is_skipped(model):
    hold = threading.Event()
    model.says = lambda request: (hold.wait(PATIENCE_S), (200, spoken("LEFT")))[1]
    slow = asking(model, timeout_s=0.2)
    assert slow.rate(scene(), scene("two")) is Answer.SKIP and sum(slow.counts.values()) == 1
    hold.set()
    nobody = ModelRater("http://127.0.0.1:9/v1", "eyes", "?", 1, 1.0)
    assert nobody.rate(scene(), scene("two")) is Answer.SKIP and nobody.counts == {"skip: URLError": 1}


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="preferences.url"):
        make_rater(PreferenceSettings(rater="model", url="file:///etc/passwd"))


@pytest.fixture
def page():
    rater = BrowserRater("Which is better?", patience_s=PATIENCE_S)
    yield rater
    rater.close()


def fetch(rater, place, body=None, token=None, host=None):
    """Status and body of a request to the page."""
    connection = http.client.HTTPConnection("127.0.0.1", rater._server.server_port, timeout=PATIENCE_S)
    token = rater.token if token is None else token
    join = "&" if "?" in place else "?"
    headers = {} if host is None else {"Host": host}
    connection.request("GET" if body is None else "POST", f"{place}{join}token={token}", body, headers)
    reply = connection.getresponse()
    return reply.status, reply.read()


def wait_for_pair(rater):
    while (found := fetch(rater, "/pair?after=0"))[0] == 204:
        pass
    return json.loads(found[1])


def in_background(rater):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(rater.rate(scene(), scene("two"))), daemon=True)
    thread.start()
    return thread, answers


def test_a_person_sees_two_clips_and_answers_once(page):
    thread, answers = in_background(page)
    pair = wait_for_pair(page)
    assert pair["question"] == "Which is better?" and pair["left"]["name"] == "one" and pair["right"]["name"] == "two"
    assert len(pair["left"]["pictures"]) == 20
    assert fetch(page, "/answer", json.dumps({"number": pair["number"], "answer": "better"}))[0] == 400
    assert fetch(page, "/answer", json.dumps({"number": pair["number"] + 1, "answer": "left"}))[0] == 409
    assert fetch(page, "/answer", json.dumps({"number": pair["number"], "answer": "right"}))[0] == 200
    assert fetch(page, "/answer", json.dumps({"number": pair["number"], "answer": "left"}))[0] == 409
    thread.join(PATIENCE_S)
    assert answers == [Answer.RIGHT] and page.counts == {"right": 1}
    assert fetch(page, f"/pair?after={pair['number']}")[0] == 204


def test_nobody_without_the_token_or_by_another_name_sees_or_says_anything(page):
    thread, _ = in_background(page)
    pair = wait_for_pair(page)
    answer = json.dumps({"number": pair["number"], "answer": "left"})
    assert fetch(page, "/", token="guess")[0] == 403
    assert fetch(page, "/pair", token="")[0] == 403
    assert fetch(page, "/answer", answer, token="guess")[0] == 403
    assert fetch(page, "/answer", answer, host=f"evil.example:{page._server.server_port}")[0] == 403
    assert fetch(page, "/answer", "{" * 5000)[0] == 400
    assert fetch(page, "/elsewhere")[0] == 404
    assert fetch(page, "/answer", answer)[0] == 200
    thread.join(PATIENCE_S)


def test_nobody_there_is_a_skip():
    rater = BrowserRater("?", patience_s=0.05)
    assert rater.rate(scene(), scene("two")) is Answer.SKIP
    rater.close()
    rater.close()


def test_a_port_that_is_taken_is_an_error(page):
    with pytest.raises(ConfigError, match="preferences.port"):
        BrowserRater("?", port=page._server.server_port)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.is_file(), reason="needs chromium")
def test_the_page_shows_the_clips_in_a_browser(page, tmp_path):
    thread, _ = in_background(page)
    pair = wait_for_pair(page)
    shot = tmp_path / "page.png"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000"]
    looks = ["--window-size=1000,700", f"--screenshot={shot}", "--dump-dom", page.url]
    seen = subprocess.run([CHROMIUM, *options, *looks], capture_output=True, text=True, timeout=240, check=True).stdout
    assert ">Pair 1<" in seen and ">one<" in seen and ">two<" in seen and seen.count("data:image/jpeg;base64,/9j/") >= 2
    assert shot.stat().st_size > 10_000
    page.take({"number": pair["number"], "answer": "skip"})
    thread.join(PATIENCE_S)


def test_clips_without_a_camera_of_that_name_say_so():
    from robot_stack.errors import DataError

    with pytest.raises(DataError, match="preferences.camera"):
        pictures(recording(), 0, 10, "wrist", 4)
    found = pictures(recording(), 10, 40, "top", 4)
    assert len(found) == 4 and all(np.ptp(rgb) > 0 for rgb in found)
