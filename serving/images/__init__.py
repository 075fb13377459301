"The images that the service runs in, and how each is tried without an engine for containers."
