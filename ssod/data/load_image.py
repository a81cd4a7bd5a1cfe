"""Images read with clear errors."""


class BrokenImageError(ValueError):
    """An image that cannot be used.

    Args:
        path: The file.
        message: What is wrong and the remedy, in one line that names the file.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """For the way out of a data worker."""
        return type(self), (self.path, str(self))
