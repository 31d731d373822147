"""The generated MuJoCo model against the project's own kinematics."""

import mujoco
import numpy as np
import pytest

from drivers.mjcf import build_mjcf
from robot_stack.config.robot_file import load_robot
from robot_stack.config.schema import TaskSettings
from robot_stack.kinematics import Kinematics, camera_matrix, camera_pose
from robot_stack.robot import RobotSpec


@pytest.fixture(scope="module")
def spec() -> RobotSpec:
    return load_robot("sim_arm")


@pytest.fixture(scope="module")
def model(spec: RobotSpec) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(build_mjcf(spec, TaskSettings()))


def _posed(model: mujoco.MjModel, spec: RobotSpec, q: np.ndarray) -> mujoco.MjData:
    data = mujoco.MjData(model)
    for name, value in zip(spec.joint_names, q, strict=True):
        data.joint(name).qpos = value
    mujoco.mj_forward(model, data)
    return data


@pytest.mark.parametrize("seed", range(20))
def test_forward_kinematics_equals_mujoco_at_random_poses(model: mujoco.MjModel, spec: RobotSpec, seed: int) -> None:
    q = np.random.default_rng(seed).uniform(spec.q_min, spec.q_max)
    data = _posed(model, spec, q)
    R_W, p_W, _ = Kinematics(spec).frames(q)
    for j, name in enumerate(spec.joint_names):
        np.testing.assert_allclose(data.body(name).xpos, p_W[j], atol=1e-9)
        np.testing.assert_allclose(data.body(name).xmat.reshape(3, 3), R_W[j], atol=1e-9)


def test_cameras_stand_and_look_as_the_spec_says(model: mujoco.MjModel, spec: RobotSpec) -> None:
    q = np.array(spec.q_home)
    data = _posed(model, spec, q)
    R_W, p_W, _ = Kinematics(spec).frames(q)
    for camera in spec.cameras:
        R, p = camera_pose(camera)
        if camera.joint >= 0:
            R, p = R_W[camera.joint] @ R, p_W[camera.joint] + R_W[camera.joint] @ p
        np.testing.assert_allclose(data.camera(camera.name).xpos, p, atol=1e-6)
        np.testing.assert_allclose(data.camera(camera.name).xmat.reshape(3, 3), R * [1, -1, -1], atol=1e-6)
        f = camera_matrix(camera)[1, 1]
        assert np.tan(np.radians(model.camera(camera.name).fovy[0]) / 2) == pytest.approx(camera.height / 2 / f, rel=1e-6)


def test_gravity_does_not_move_the_arm(model: mujoco.MjModel, spec: RobotSpec) -> None:
    data = _posed(model, spec, np.array(spec.q_home))
    at = [model.joint(name).dofadr[0] for name in spec.joint_names]
    np.testing.assert_allclose(data.qfrc_gravcomp[at], data.qfrc_bias[at], atol=1e-9)
