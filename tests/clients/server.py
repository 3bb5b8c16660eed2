"""Python's own HTTP servers, to stand behind the node under test.

Usage: server.py 1.0|1.1; prints "listening PORT". The first closes after each answer, and its
contents end with the connection; the second keeps alive and answers by path as
tests/support/web_server.rs does.
"""

import functools
import http.server
import struct
import sys

MASK = (1 << 64) - 1


@functools.lru_cache
def content(path, length):
    """The content that belongs to a path (tests/support/web.rs)."""
    seed = 0xCBF29CE484222325
    for byte in path.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    out = bytearray()
    for n in range((length + 7) // 8):
        word = (seed + n * 0x9E3779B97F4A7C15) & MASK
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        out += struct.pack("<Q", word ^ (word >> 31))
    return bytes(out[:length])


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/" + sys.argv[1]
    server_version = "Python"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        kind, *numbers = self.path.strip("/").split("/")
        body = content(self.path, int(numbers[0]))
        self.send_response(200)
        if self.protocol_version == "HTTP/1.0":
            self.end_headers()
            self.wfile.write(body)
        elif kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body), 1000):
                part = body[at : at + 1000]
                self.wfile.write(b"%X\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        elif kind == "close":
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Answers)
print("listening", server.server_address[1], flush=True)
server.serve_forever()
