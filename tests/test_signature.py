"""A bundle is run only when somebody trusted signed it, where the run asks for that; and exactly as it was signed."""

import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="signatures need it: pip install 'robot_stack[secure]'")

from policies.bundle import MANIFEST, Manifest, load_bundle, write_manifest
from robot_stack import build
from robot_stack.bringup import prepare
from robot_stack.cli import main
from robot_stack.config.commands import RunCommand
from robot_stack.config.schema import RunSettings
from robot_stack.errors import ConfigError, PolicyError
from robot_stack.signature import SIGNATURE, make_key_pair, sign, verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle as far as a signature looks at it: a manifest with the hashes of all else."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"network")
    files = {"model.onnx": hashlib.sha256(b"network").hexdigest()}
    manifest = Manifest(
        1,
        "x",
        ("a",),
        "rad",
        (),
        "go",
        8,
        50_000_000,
        5.0,
        4,
        3,
        2,
        False,
        False,
        "0" * 64,
        10,
        20,
        {"q_mean": [0.0]},
        files=files,
    )
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_key_pair(tmp_path / "keys" / "release")


def test_a_signed_bundle_is_verified_by_any_of_the_trusted_keys(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = make_key_pair(tmp_path / "other")
    sign(folder, keys[0])
    assert verify(folder, [other, keys[1]]) == str(keys[1])


def test_a_bundle_that_nobody_trusted_signed_is_refused(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"manifest\.sig: missing, and run\.trusted_keys allows only signed bundles"):
        verify(folder, [keys[1]])
    stranger, _ = make_key_pair(tmp_path / "stranger")
    sign(folder, stranger)
    with pytest.raises(PolicyError, match="a signature of none of run.trusted_keys"):
        verify(folder, [keys[1]])


@pytest.mark.parametrize("change", ["manifest", "signature", "not_base64", "empty"])
def test_a_manifest_or_signature_changed_in_one_bit_is_refused(folder: Path, keys: tuple[Path, Path], change: str) -> None:
    file = folder / (MANIFEST if change == "manifest" else SIGNATURE)
    sign(folder, keys[0])
    content = bytearray(file.read_bytes())
    content[content.index(b" ") + 10] ^= 1
    file.write_bytes({"not_base64": b"0123 ???", "empty": b""}.get(change, bytes(content)))
    with pytest.raises(PolicyError):
        verify(folder, [keys[1]])


@pytest.mark.parametrize("name", ["../other/model.onnx", "/etc/hostname"])
def test_a_manifest_that_names_files_outside_its_folder_is_refused(folder: Path, name: str) -> None:
    manifest = load_bundle(folder).manifest
    write_manifest(folder, replace(manifest, files={**manifest.files, name: "0" * 64}))
    with pytest.raises(PolicyError, match=r"names inside the folder"):
        load_bundle(folder)


def test_a_key_is_private_to_its_user_and_never_overwritten(keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="never overwritten"):
        make_key_pair(private)
    with pytest.raises(ConfigError, match="holds no public key"):
        verify(private.parent, [private])
    with pytest.raises(ConfigError, match="holds no private key"):
        sign(private.parent, public)


def test_openssl_agrees_with_the_signature(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program")
    import base64

    line = sign(folder, keys[0]).read_text().split()
    (tmp_path / "raw.sig").write_bytes(base64.b64decode(line[1]))
    (tmp_path / "signed").write_bytes(b"robot_stack bundle manifest, version 1\n" + (folder / MANIFEST).read_bytes())
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys[1]), "-rawin"]
    command += ["-in", str(tmp_path / "signed"), "-sigfile", str(tmp_path / "raw.sig")]
    assert "Success" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_run_that_trusts_keys_refuses_an_unsigned_bundle_before_anything_starts(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    command = RunCommand(bundle=str(folder), run=RunSettings(trusted_keys=[str(keys[1])]))
    with pytest.raises(PolicyError, match="manifest.sig: missing"):
        prepare(command, 7, tmp_path / "graph")
    sign(folder, keys[0])
    prepared = prepare(command, 7, tmp_path / "graph")
    assert prepared.run.settings.trusted_keys == [str(keys[1])]
    (folder / SIGNATURE).unlink()
    with pytest.raises(PolicyError, match="manifest.sig: missing"):
        build.policy(replace(prepared.run))


def test_the_command_makes_a_key_signs_and_verifies(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "release"
    assert main(["secure", "keygen", f"key={key}"]) == 0
    assert main(["secure", "sign", f"bundle={folder}", f"key={key}"]) == 0
    assert main(["secure", "verify", f"bundle={folder}", f"key={key}.pub"]) == 0
    assert f"signed by {key}.pub" in capsys.readouterr().out
    (folder / MANIFEST).write_text("other")
    assert main(["secure", "verify", f"bundle={folder}", f"key={key}.pub"]) == 2
    assert main(["secure", "sign", f"bundle={folder}"]) == 2
    assert "key: missing; next: robot-stack secure sign" in capsys.readouterr().err
