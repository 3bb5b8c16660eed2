"""httpx as a client: its pool, streams both ways, HEAD, trailers it ignores.

Usage: httpx_client.py URL
"""

import concurrent.futures
import hashlib
import os
import sys

import httpx

url = sys.argv[1]


def pool(client):
    def one(n):
        answer = client.get(f"{url}/bytes/{n}", headers={"X-N": str(n)})
        assert answer.status_code == 200, answer
        assert answer.http_version == "HTTP/1.1", answer.http_version
        assert len(answer.content) == n, (n, len(answer.content))
        return hashlib.sha256(answer.content).digest()

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        first = list(threads.map(one, range(0, 40_000, 100)))
        again = list(threads.map(one, range(0, 40_000, 100)))
    assert first == again, "the same content each time"


def streams(client):
    digest, total = hashlib.sha256(), 0
    with client.stream("GET", f"{url}/chunked/3000000") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        for part in answer.iter_bytes(5_000):
            digest.update(part)
            total += len(part)
    assert total == 3_000_000, total
    assert digest.digest() == hashlib.sha256(client.get(f"{url}/chunked/3000000").content).digest()
    # Left amid the answer: the connection is given up, the client goes on.
    with client.stream("GET", f"{url}/bytes/50000000") as answer:
        next(answer.iter_bytes(10_000))
    assert client.get(f"{url}/bytes/5").status_code == 200


def uploads(client):
    parts = [os.urandom(1 + n * 997 % 50_000) for n in range(200)]
    answer = client.post(f"{url}/echo", content=iter(parts))
    assert answer.content == b"".join(parts), "a generator's parts, in chunks"
    answer = client.post(f"{url}/echo", json={"a": ["b", 1]})
    assert answer.json() == {"a": ["b", 1]}
    answer = client.put(f"{url}/echo", files={"file": ("name", b"x" * 1_000_000)})
    assert b"x" * 1_000_000 in answer.content


def others(client):
    answer = client.head(f"{url}/bytes/1234")
    assert (answer.headers["content-length"], answer.content) == ("1234", b"")
    assert client.get(f"{url}/trailers/1000").status_code == 200
    assert client.get(f"{url}/close/70000").content == client.get(f"{url}/close/70000").content
    assert client.get(f"{url}/status/404").status_code == 404
    assert client.options(f"{url}/echo").status_code == 200


with httpx.Client(timeout=20, limits=httpx.Limits(max_connections=8)) as client:
    for part in (pool, streams, uploads, others):
        part(client)
        print("ok", part.__name__)
