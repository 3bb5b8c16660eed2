"""What applications do through redis-py, in RESP2 and RESP3. Arguments: port, driver, protocol."""

import sys
import threading

import redis

PORT, DRIVER, PROTOCOL = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
LIMITS = dict(socket_timeout=10, socket_connect_timeout=10)


def connect(**options):
    return redis.Redis(port=PORT, protocol=PROTOCOL, decode_responses=True, **LIMITS, **options)


def strings(r):
    assert r.set("k", "v", ex=100) and r.get("k") == "v" and 99 <= r.ttl("k") <= 100
    assert r.set("k", "w", nx=True) is None and r.set("k", "w", xx=True, get=True) == "v"
    assert r.getex("k", persist=True) == "w" and r.ttl("k") == -1
    assert r.mset({"a": 1, "b": 2}) and r.mget("a", "none", "b") == ["1", None, "2"]
    assert r.incr("n", 5) == 5 and r.decr("n") == 4 and r.incrbyfloat("n", 0.5) == 4.5
    assert r.append("k", "!") == 2 and r.getrange("k", 0, 0) == "w" and r.strlen("k") == 2
    assert r.getdel("k") == "w!" and r.exists("k", "a") == 1
    binary = redis.Redis(port=PORT, protocol=PROTOCOL, **LIMITS)
    blob = bytes(range(256)) * 1000
    assert binary.set(blob[:300], blob) and binary.get(blob[:300]) == blob


def limits(r):
    throttle = lambda *numbers: r.execute_command("CL.THROTTLE", f"py:{DRIVER}:{PROTOCOL}", *numbers)
    assert throttle(1, 1, 1000) == [0, 2, 1, -1, 1000]
    assert throttle(1, 1, 1000, 2) == [1, 2, 1, 1000, 1000]
    pipe = r.pipeline(transaction=True)
    pipe.execute_command("CL.THROTTLE", "py:tx", 0, 1, 1000).set("py:tx", "a key of that name")
    assert pipe.execute()[1] is True and r.get("py:tx") == "a key of that name"
    try:
        throttle("many", 1, 1)
        assert False, "that is no number"
    except redis.ResponseError as error:
        assert "Couldn't parse as integer: many" in str(error)


def pipelines(r):
    pipe = r.pipeline(transaction=False)
    for n in range(5000):
        pipe.set(f"p:{n}", n).get(f"p:{n}")
    replies = pipe.execute()
    assert replies[0::2] == [True] * 5000 and replies[1::2] == [str(n) for n in range(5000)]
    pipe = r.pipeline(transaction=False)
    pipe.set("t", "text").incr("t").get("t")
    first, error, last = pipe.execute(raise_on_error=False)
    assert first is True and isinstance(error, redis.ResponseError) and last == "text"


def transactions(r):
    r.set("balance", 0)

    def add(pipe):
        now = int(pipe.get("balance"))
        pipe.multi()
        pipe.set("balance", now + 1)

    def work():
        mine = connect()
        for _ in range(50):
            mine.transaction(add, "balance")
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert r.get("balance") == "200", r.get("balance")
    with r.pipeline() as pipe:
        pipe.watch("balance")
        r.incr("balance")
        pipe.multi()
        pipe.set("balance", 0)
        try:
            pipe.execute()
            raise AssertionError("a watched key changed")
        except redis.WatchError:
            pass
    assert r.get("balance") == "201"


def scans(r):
    r.flushdb()
    r.mset({f"scan:{n}": n for n in range(1000)})
    r.mset({f"other:{n}": n for n in range(1000)})
    found = list(r.scan_iter(match="scan:*", count=37))
    assert set(found) == {f"scan:{n}" for n in range(1000)}
    assert len(r.keys("other:*")) == 1000 and r.dbsize() == 2000


def connection(r):
    assert r.info()["corelane_driver"] == DRIVER
    assert r.ping() and r.echo("hello") == "hello"
    named = connect(client_name="me")
    assert named.client_getname() == "me" and named.client_info()["name"] == "me"
    assert any(c["name"] == "me" for c in r.client_list())
    other = connect(db=3)
    other.set("k", "three")
    assert r.get("k") is None
    seconds, micros = r.time()
    assert seconds > 1_700_000_000 and 0 <= micros < 1_000_000
    assert r.config_get("maxmemory*")["maxmemory"] == "0"
    assert r.command_count() > 60 and "get" in r.command()
    killed = connect()
    r.client_kill_filter(_id=killed.client_id())
    assert killed.ping(), "it connects again by itself"


def main():
    r = connect()
    r.flushall()
    for part in (strings, limits, pipelines, transactions, scans, connection):
        part(r)
        print("ok", part.__name__)
    r.close()


main()
