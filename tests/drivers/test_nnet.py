"""The reader of `.nnet` networks: what it computes, and that a damaged file is refused by the line."""

import os
from pathlib import Path

import numpy as np
import pytest

from drivers.nnet import read_nnet
from robot_stack.errors import PolicyError

TAXINET = Path(os.environ.get("ROBOT_STACK_SHARED", Path(__file__).parents[2].parent / "shared")) / "data" / "taxinet"
TEXT = """// a comment
2,2,1,2,
2,2,1,
0,
-1.0,-1.0,
1.0,1.0,
0.5,0.0,0.0,
2.0,1.0,1.0,
1.0,-1.0,
2.0,0.5,
0.25,
-1.0,
3.0,-2.0,
0.125,
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "network.nnet"
    path.write_text(text)
    return path


def test_a_network_of_two_layers_is_what_pencil_and_paper_give(tmp_path: Path) -> None:
    network = read_nnet(written(tmp_path, TEXT))
    x = np.array([[0.5, 1.0], [7.0, -0.25]])
    hidden = np.maximum([[0.0 - 1.0 + 0.25, 0.0 + 0.5 - 1.0], [0.25 + 0.25 + 0.25, 0.5 - 0.125 - 1.0]], 0.0)
    np.testing.assert_allclose(network(x)[:, 0], 3 * hidden[:, 0] - 2 * hidden[:, 1] + 0.125)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "ends before the sizes"),
        (TEXT[:60], "line 7: found 2 values, allowed 3"),
        (TEXT[: TEXT.index("1.0,1.0,\n0.5")], "ends before the maximum of the inputs"),
        (TEXT.rsplit("0.125", 1)[0], "ends before bias 0 of layer 1"),
        (TEXT + "1.0,\n", "line 15: found more than the 2 layers"),
        (TEXT.replace("2.0,0.5,", "2.0,"), "line 10: found 1 values, allowed 2 finite ones: row 1 of layer 0"),
        (TEXT.replace("0.25,", "nan,"), "bias 0 of layer 0"),
        (TEXT.replace("0.25,", "none,"), "line 11: found could not convert"),
        (TEXT.replace("2,2,1,\n0", "2,2,2,\n0"), r"found layer sizes \[2, 2, 2\]"),
        (TEXT.replace("2.0,1.0,1.0,", "0.0,1.0,1.0,"), "found a range of 0"),
        ("2,2,1,2,\n2,2,1,\n0,\n\x80", "not text"),
    ],
)
def test_a_damaged_file_is_refused_and_the_place_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "network.nnet"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(PolicyError, match=why):
        read_nnet(path)


def test_a_missing_file_and_inputs_of_the_wrong_width_are_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"nowhere\.nnet: missing"):
        read_nnet(tmp_path / "nowhere.nnet")
    with pytest.raises(PolicyError, match=r"found inputs \(1, 3\), allowed \(n, 2\)"):
        read_nnet(written(tmp_path, TEXT))(np.zeros((1, 3)))


@pytest.mark.skipif(not TAXINET.is_dir(), reason=f"no TinyTaxiNet at {TAXINET} (set ROBOT_STACK_SHARED)")
def test_the_real_controller_reads_crosstrack_and_heading_off_the_real_generators_pictures() -> None:
    controller, generator = (read_nnet(TAXINET / f"{name}.nnet") for name in ("TinyTaxiNet", "generator_supervised_mlp"))
    truth = np.random.default_rng(0).uniform([-4, -10], [4, 10], (200, 2))
    pictures = np.clip(0.5 * generator(np.concatenate([np.zeros((200, 2)), truth], axis=1)) + 0.5, 0.0, 1.0)
    assert pictures.shape == (200, 128) and abs(pictures.mean() - 0.5) < 0.01
    error = controller(pictures) - truth
    assert np.sqrt((error**2).mean(0)) == pytest.approx([0.0, 0.0], abs=3.0)
    assert np.corrcoef(controller(pictures)[:, 0], truth[:, 0])[0, 1] > 0.95
