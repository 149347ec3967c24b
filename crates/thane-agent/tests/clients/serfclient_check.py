"""Does with an agent what the package serfclient 1.2.0 can do with one of Serf's.

Arguments: host and RPC port of agent alpha, which has the token "sesame", and of agent beta, which has none.
"""

import sys

from serfclient.client import SerfClient

host, alpha_port, beta_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def same(found, expected):
    assert found == expected, "%r, not %r" % (found, expected)


def connect(port, **options):
    return SerfClient(host=host, port=port, timeout=30, **options)


def ok(response):
    same(response.head["Error"], "")
    return response.body


# Tokens.
stranger = connect(alpha_port)
same(stranger.event("deploy").head["Error"], "Authentication required")
same(stranger.connection.auth("wrong").head["Error"], "Invalid authentication token")
same(stranger.connection.auth("sesame").head["Error"], "")
ok(stranger.event("hello"))
alpha, beta = connect(alpha_port, rpc_auth="sesame"), connect(beta_port)

# Members.
names = sorted(member["Name"] for member in ok(alpha.members())["Members"])
same(names, ["alpha", "beta"])
member, = ok(alpha.members(name="al.*", status="alive", tags={"role": "w.b"}))["Members"]
same((member["Name"], member["Tags"], member["Addr"]), ("alpha", {"role": "web"}, bytes(map(int, host.split(".")))))
same(ok(alpha.members(status="left"))["Members"], [])

# Stats.
stats = ok(alpha.stats())
same((stats["agent"]["name"], stats["serf"]["members"]), ("alpha", "2"))

# Joining, tags, forced leaves, and what is refused.
same(ok(alpha.join("%s:7946" % host))["Num"], 1)
refused = alpha.join(["127.0.0.1:1"])
assert "connection refused" in refused.head["Error"], refused.head
same(refused.body["Num"], 0)
ok(alpha.force_leave("nobody"))
ok(beta.connection.call("tags", {"Tags": {"a": "1"}, "DeleteTags": []}, expect_body=False))

# Events, from one agent to a stream at the other.
events = iter(ok(beta.stream(["user:deploy", "query:uptime"])))
ok(alpha.event("other", b"x", coalesce=False))
ok(alpha.event("deploy", b"v42", coalesce=False))
event = next(events).body
same((event["Event"], event["Name"], event["Payload"], event["Coalesce"]), ("user", "deploy", b"v42", False))

# A query of one, answered by the other's client.
question = {"Name": "uptime", "Payload": b"?", "FilterNodes": ["beta"], "RequestAck": True, "Timeout": 6000000000}
records = iter(ok(alpha.connection.call("query", question, stream=True)))
query = next(events).body
same((query["Event"], query["Name"], query["Payload"], query["ID"]), ("query", "uptime", b"?", 1))
ok(beta.connection.call("respond", {"ID": query["ID"], "Payload": b"3 days"}, expect_body=False))
found = []
for record in records:
    if record.body["Type"] == "done":
        break
    found.append((record.body["Type"], record.body["From"], record.body["Payload"]))
same(sorted(found), [("ack", "beta", None), ("response", "beta", b"3 days")])
again = beta.connection.call("respond", {"ID": 99, "Payload": b""}, expect_body=False)
same(again.head["Error"], "No pending queries matching ID")

# Leaving, of which a stream at the other agent tells.
watcher = connect(alpha_port, rpc_auth="sesame")
watched = iter(ok(watcher.stream("member-leave")))
leaver = connect(beta_port)
ok(leaver.connection.call("leave", expect_body=False))
left = next(watched).body
same((left["Event"], left["Members"][0]["Name"], left["Members"][0]["Status"]), ("member-leave", "beta", "left"))
print("all of it")
