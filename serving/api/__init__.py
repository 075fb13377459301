"The HTTP interface. It composes libraries, and reaches the science through the queue and the worker."
