"""Forward kinematics against a chain written out with scipy rotations, and Jacobians against finite differences."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from robot_stack.config.robot_file import load_robot
from robot_stack.errors import ContractError
from robot_stack.kinematics import Kinematics, camera_matrix, camera_pose
from robot_stack.robot import CameraSpec

SPEC = load_robot("sim_arm")
KINEMATICS = Kinematics(SPEC)


def _poses(q: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    poses: list[tuple[np.ndarray, np.ndarray]] = []
    for joint, value in zip(SPEC.joints, q, strict=True):
        R_P, p_P = poses[joint.parent] if joint.parent >= 0 else (np.eye(3), np.zeros(3))
        axis = np.array(joint.axis, dtype=float)
        if joint.kind == "revolute":
            poses.append((R_P @ Rotation.from_rotvec(axis * value).as_matrix(), p_P + R_P @ joint.origin))
        else:
            poses.append((R_P, p_P + R_P @ (np.array(joint.origin) + axis * value)))
    return poses


def _random_q(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(SPEC.q_min, SPEC.q_max)


@pytest.mark.parametrize("seed", range(10))
def test_frames_and_points_are_where_the_written_out_chain_puts_them(seed: int) -> None:
    q = _random_q(seed)
    poses = _poses(q)
    R_W, p_W, axis_W = KINEMATICS.frames(q)
    for i, (R, p) in enumerate(poses):
        np.testing.assert_allclose(R_W[i], R, atol=1e-12)
        np.testing.assert_allclose(p_W[i], p, atol=1e-12)
        np.testing.assert_allclose(axis_W[i], R @ SPEC.joints[i].axis, atol=1e-12)
    ends = [(c.joint, e) for c in SPEC.capsules for e in (c.a, c.b)] + [(SPEC.tip_joint, SPEC.tip)]
    expected = [poses[joint][1] + poses[joint][0] @ np.array(e) for joint, e in ends]
    np.testing.assert_allclose(KINEMATICS.points(q)[0], expected, atol=1e-12)
    np.testing.assert_allclose(KINEMATICS.tip(q)[0], expected[-1], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_jacobians_are_the_slopes_of_positions(seed: int) -> None:
    q, step = _random_q(seed), 1e-6
    _, J = KINEMATICS.points(q)
    _, R_W, J_tip = KINEMATICS.tip(q)
    for j in range(7):
        up, down = q + step * np.eye(7)[j], q - step * np.eye(7)[j]
        np.testing.assert_allclose(J[:, :, j], (KINEMATICS.points(up)[0] - KINEMATICS.points(down)[0]) / (2 * step), atol=1e-8)
        p, m = KINEMATICS.tip(up), KINEMATICS.tip(down)
        np.testing.assert_allclose(J_tip[:3, j], (p[0] - m[0]) / (2 * step), atol=1e-8)
        spin = (p[1] - m[1]) / (2 * step) @ R_W.T
        np.testing.assert_allclose(J_tip[3:, j], [spin[2, 1], spin[0, 2], spin[1, 0]], atol=1e-8)


def test_the_positions_of_many_states_are_those_of_each_alone() -> None:
    q = np.array([_random_q(seed) for seed in range(50)])
    assert np.allclose(KINEMATICS.positions(q), [KINEMATICS.points(row)[0] for row in q], rtol=0, atol=1e-15)


def test_the_wrong_number_of_joints_is_refused() -> None:
    with pytest.raises(ContractError, match=r"found q \(2, 3\), allowed \(n, 7\)"):
        KINEMATICS.positions(np.zeros((2, 3)))


def test_the_gripper_moves_no_link_and_no_tool() -> None:
    _, J = KINEMATICS.points(_random_q(0))
    assert not J[:, :, 6].any() and not KINEMATICS.tip(_random_q(0))[2][:, 6].any()


def test_a_camera_looks_at_its_target_with_x_right_and_y_down() -> None:
    spec = CameraSpec("c", -1, (1.0, 0.0, 0.5), (0.0, 0.0, 0.0), np.pi / 2, 100, 80, 30.0)
    R, p = camera_pose(spec)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)
    in_camera = R.T @ (np.zeros(3) - p)
    assert in_camera[2] > 0 and np.abs(in_camera[:2]).max() < 1e-12
    assert (R.T @ np.array([0.0, 0.0, 1.0]))[1] < 0
    K = camera_matrix(spec)
    assert (K[0, 0], K[0, 2], K[1, 2]) == (pytest.approx(40.0), 50.0, 40.0)
