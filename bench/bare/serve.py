"python bench/bare/serve.py APP FD: an application of this folder in a process like that of the API."

import socket
import sys

import uvicorn

if __name__ == "__main__":
    name, fd = sys.argv[1:]
    config = uvicorn.Config(f"{name}:app", loop="uvloop", http="httptools", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(fd))])
