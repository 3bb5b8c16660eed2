"""What applications do through redis-py's RedisCluster. Arguments: port, shards, protocol."""

import sys
import threading

import redis
from redis.cluster import ClusterNode, RedisCluster

PORT, SHARDS, PROTOCOL = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
LIMITS = dict(socket_timeout=10, socket_connect_timeout=10)


def connect(**options):
    start = [ClusterNode("127.0.0.1", PORT)]
    return RedisCluster(
        startup_nodes=start, protocol=PROTOCOL, decode_responses=True, **LIMITS, **options
    )


def nodes(r):
    assert len(r.get_primaries()) == SHARDS and r.get_replicas() == []
    ports = {node.port for node in r.get_primaries()}
    assert len(ports) == SHARDS and PORT in ports
    listed = r.cluster_nodes()
    assert len(listed) == SHARDS and all(node["connected"] for node in listed.values())
    assert r.cluster_info(target_nodes=r.get_random_node())["cluster_state"] == "ok"
    assert len(r.cluster_shards()) == SHARDS
    homes = {r.get_node_from_key(f"key:{n}").port for n in range(1000)}
    assert homes == ports, "keys are spread over all"


def strings(r):
    for n in range(1000):
        assert r.set(f"key:{n}", n, ex=100)
    assert all(r.get(f"key:{n}") == str(n) for n in range(1000))
    assert r.incr("n", 5) == 5 and r.append("key:1", "!") == 2 and r.ttl("key:1") > 90
    assert r.mset({"{tag}a": 1, "{tag}b": 2}) and r.mget("{tag}a", "{tag}b") == ["1", "2"]
    assert r.rename("{tag}a", "{tag}c") and r.copy("{tag}c", "{tag}d") and r.get("{tag}d") == "1"
    assert r.delete("key:1", "key:2", "key:3") == 3 and r.exists("key:1", "key:4") == 1
    binary = RedisCluster(host="127.0.0.1", port=PORT, protocol=PROTOCOL, **LIMITS)
    blob = bytes(range(256)) * 1000
    assert binary.set(blob[:300], blob) and binary.get(blob[:300]) == blob


def several_slots(r):
    assert r.mset_nonatomic({f"many:{n}": n for n in range(500)})
    names = [f"many:{n}" for n in range(500)]
    assert r.mget_nonatomic(names) == [str(n) for n in range(500)]
    try:
        r.get_primaries()[0].redis_connection.execute_command("MGET", "many:1", "many:2")
        raise AssertionError("keys of several slots")
    except redis.exceptions.RedisClusterException:
        pass
    except redis.exceptions.ResponseError as error:
        assert "hash to the same slot" in str(error), error


def pipelines(r):
    pipe = r.pipeline()
    for n in range(2000):
        pipe.set(f"p:{n}", n).get(f"p:{n}")
    replies = pipe.execute()
    assert replies[0::2] == [True] * 2000 and replies[1::2] == [str(n) for n in range(2000)]


def transactions(r):
    r.set("{acct}balance", 0)

    def work():
        mine = connect()
        for _ in range(30):
            while True:
                with mine.pipeline(transaction=True) as pipe:
                    try:
                        pipe.watch("{acct}balance")
                        now = int(pipe.get("{acct}balance"))
                        pipe.multi()
                        pipe.set("{acct}balance", now + 1)
                        pipe.incr("{acct}n")
                        pipe.execute()
                        break
                    except redis.WatchError:
                        pass
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert r.get("{acct}balance") == "120" and r.get("{acct}n") == "120"


def keyspace(r):
    r.flushall(target_nodes=RedisCluster.PRIMARIES)
    assert r.dbsize(target_nodes=RedisCluster.PRIMARIES) == 0
    r.mset_nonatomic({f"scan:{n}": n for n in range(1000)})
    assert set(r.scan_iter(match="scan:*", count=37)) == {f"scan:{n}" for n in range(1000)}
    assert len(r.keys("scan:*", target_nodes=RedisCluster.PRIMARIES)) == 1000
    assert r.dbsize(target_nodes=RedisCluster.PRIMARIES) == 1000
    slot = r.cluster_keyslot("scan:7")
    assert r.cluster_countkeysinslot(slot) >= 1
    assert "scan:7" in r.cluster_get_keys_in_slot(slot, 100)
    assert r.randomkey(target_nodes=r.get_primaries()[0]).startswith("scan:")


def wrong_map(r):
    """A client with a stale map is led on by MOVED and learns."""
    manager = r.nodes_manager
    if SHARDS > 1:
        first = r.get_primaries()[0]
        manager.slots_cache = {slot: [first] for slot in range(16384)}
    for n in range(50):
        assert r.set(f"lost:{n}", n) and r.get(f"lost:{n}") == str(n)


def main():
    r = connect()
    for part in (nodes, strings, several_slots, pipelines, transactions, keyspace, wrong_map):
        part(r)
        print("ok", part.__name__)
    r.close()


main()
