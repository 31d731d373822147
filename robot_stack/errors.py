"""The one tree of errors. Every message says what, what was found, what is allowed, and the next step."""


class RobotStackError(Exception):
    """Anything robot_stack raises on purpose."""


class ConfigError(RobotStackError):
    """A configuration names something that does not exist, or a value outside its range."""


class ContractError(RobotStackError):
    """A value does not hold what its type promises (shape, dtype, finiteness, order)."""


class DriverError(RobotStackError):
    """A device is missing, refused a command, or stopped answering."""


class PolicyError(RobotStackError):
    """A bundle, engine or network cannot be used as asked."""


class DataError(RobotStackError):
    """A log or dataset cannot be read or written as asked."""


class ReplayMismatch(RobotStackError):
    """A replay did not reproduce what the log says."""
