"""What can go wrong while images are made; each message ends with what to do."""


class ImageMissing(RuntimeError):
    """An image is not there and cannot be made on this machine."""


class ToolMissing(ImageMissing):
    """A program, a right or a setting that making images needs is not on this machine."""


class BuildFailed(ImageMissing):
    """A build ended with an error; the message holds its last words."""


class SourcesChanged(BuildFailed):
    """Somebody wrote to the sources of an image while it was built: it is no one's image."""
