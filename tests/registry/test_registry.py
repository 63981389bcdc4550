#!/usr/bin/env python3
"""The registry's own tests: what it serves, what it breaks, what it writes down."""
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import sys
import tarfile
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import content  # noqa: E402
import ctl  # noqa: E402
import faults  # noqa: E402
import kittar  # noqa: E402
import mkkit  # noqa: E402
import registry  # noqa: E402
import store  # noqa: E402

ACCEPT = {"Accept": mkkit.MANIFEST}
SIZE = 300_000
SPEC = {"layers": [{"kind": "model", "path": "m", "files": [
    {"path": "m/huge.bin", "size": 1 << 40, "seed": 7},
    {"path": "m/f%03d", "size": 10, "count": 3, "seed": 8}]}]}


class Served(unittest.TestCase):
    """A registry in this process, with one kit in an OCI layout and a synthetic one."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="kitfs-registry.")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        layer = mkkit.Layer("model", "w.bin", [("w.bin", 0o644, (1, SIZE))])
        cls.layout = os.path.join(cls.folder, "layout")
        cls.manifest = mkkit.store(cls.layout, "v1", "sample", [layer])
        cls.blob, cls.blob_size = layer.digest, layer.size
        cls.bytes = pathlib.Path(cls.layout, "blobs/sha256", cls.blob[7:]).read_bytes()
        spec = pathlib.Path(cls.folder, "spec.json")
        spec.write_text(json.dumps(SPEC))
        cls.app, cls.ports = registry.start(registry.parse_args([
            "--uploads", "--layout", f"a/kit={cls.layout}", "--synthetic",
            f"big:v1={spec}"]))

    def setUp(self):
        self.app.clear_rules()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.ports["PORT"],
                                                     timeout=5)
        self.addCleanup(self.connection.close)

    def get(self, path, headers=None, method="GET"):
        self.connection.request(method, path, headers=headers or {})
        answer = self.connection.getresponse()
        return answer, answer.read()

    def blob_get(self, text, path=None):
        path = path or f"/v2/a/kit/blobs/{self.blob}"
        return self.get(path, {"Range": f"bytes={text}"})

    def arm(self, **rule):
        self.app.rules = self.app.rules + [faults.Rule({"path": "blobs", **rule})]

    def rows(self, first):
        return self.app.journal.read(first, 2)


class Distribution(Served):
    def test_manifest_by_tag_and_digest(self):
        for reference in ("v1", self.manifest):
            answer, body = self.get(f"/v2/a/kit/manifests/{reference}", ACCEPT)
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.getheader("Docker-Content-Digest"), self.manifest)
            self.assertEqual(mkkit.digest_of(body), self.manifest)

    def test_manifest_without_accept_is_unknown(self):
        answer, body = self.get("/v2/a/kit/manifests/v1", {"Accept": "*/*"})
        self.assertEqual(answer.status, 404)
        self.assertEqual(json.loads(body)["errors"][0]["code"], "MANIFEST_UNKNOWN")

    def test_manifest_not_modified(self):
        headers = {**ACCEPT, "If-None-Match": f'"{self.manifest}"'}
        answer, body = self.get("/v2/a/kit/manifests/v1", headers)
        self.assertEqual((answer.status, body), (304, b""))

    def test_unknown_names(self):
        for path in ("/v2/a/kit/manifests/none", "/v2/no/manifests/v1", "/other",
                     "/v2/a/kit/blobs/sha256:" + 64 * "0"):
            self.assertEqual(self.get(path, ACCEPT)[0].status, 404)

    def test_tags_are_paged(self):
        digest = self.manifest
        self.app.repositories["a/kit"].tags.update(v2=digest, v3=digest)
        answer, body = self.get("/v2/a/kit/tags/list?n=2")
        self.assertEqual(json.loads(body), {"name": "a/kit", "tags": ["v1", "v2"]})
        link = answer.getheader("Link")
        self.assertIn('rel="next"', link)
        answer, body = self.get(link[1:link.index(">")])
        self.assertEqual(json.loads(body)["tags"], ["v3"])
        self.assertIsNone(answer.getheader("Link"))

    def test_head_of_blob(self):
        answer, body = self.get(f"/v2/a/kit/blobs/{self.blob}", method="HEAD")
        self.assertEqual(answer.getheader("Content-Length"), str(self.blob_size))
        self.assertEqual(body, b"")

    def test_whole_blob(self):
        answer, body = self.get(f"/v2/a/kit/blobs/{self.blob}")
        self.assertEqual((answer.status, mkkit.digest_of(body)), (200, self.blob))

    def test_ranges(self):
        size = self.blob_size
        for text, first, last in (("0-0", 0, 0), ("10-99", 10, 99), ("5-", 5, size - 1),
                                  ("-7", size - 7, size - 1),
                                  (f"{size - 3}-{size + 100}", size - 3, size - 1)):
            answer, body = self.blob_get(text)
            self.assertEqual(answer.status, 206)
            self.assertEqual(answer.getheader("Content-Range"), f"bytes {first}-{last}/{size}")
            self.assertEqual(body, self.bytes[first:last + 1])

    def test_unsatisfiable_range_as_docker_registry(self):
        for text in (f"{self.blob_size}-", "9-5", "x"):
            self.connection.request("GET", f"/v2/a/kit/blobs/{self.blob}",
                                    headers={"Range": f"bytes={text}"})
            answer = self.connection.getresponse()
            self.assertEqual(answer.status, 416)
            self.assertEqual(answer.getheader("Content-Length"), str(self.blob_size))
            with self.assertRaises(http.client.IncompleteRead):
                answer.read()
            self.connection.close()

    def test_synthetic_blob(self):
        manifest = json.loads(self.get("/v2/big/manifests/v1", ACCEPT)[1])
        layer = manifest["layers"][0]
        path = f"/v2/big/blobs/{layer['digest']}"
        self.assertGreater(layer["size"], 1 << 40)
        _, head = self.blob_get("0-2559", path)
        self.assertEqual(head[512:514], b"m/")
        offset = 512 + 1536 + (3 << 20) - 5  # directory; pax header, data, header
        _, body = self.blob_get(f"{offset}-{offset + 99}", path)
        self.assertEqual(body, content.pattern_bytes(7, (3 << 20) - 5, 100))
        _, tail = self.blob_get("-1024", path)
        self.assertEqual(tail, bytes(1024))

    def test_journal(self):
        first = len(self.rows(0))
        self.blob_get("0-9")
        row, = self.rows(first)
        self.assertEqual((row["method"], row["range"], row["status"], row["sent"]),
                         ("GET", "bytes=0-9", 206, 10))
        self.assertTrue(row["done"])


class Uploads(Served):
    DATA = b"0123456789" * 1000

    @staticmethod
    def local(url):
        return re.sub("^http://[^/]+", "", url)

    def send(self, method, path, data=None, chunked=False, kind="application/octet-stream"):
        pieces = iter([data[:7], data[7:]]) if chunked else data
        headers = {"Content-Type": kind}
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        self.connection.request(method, self.local(path), pieces, headers,
                                encode_chunked=chunked)
        answer = self.connection.getresponse()
        return answer, answer.read()

    def session(self, name="new/one"):
        answer, _ = self.send("POST", f"/v2/{name}/blobs/uploads/")
        self.assertEqual(answer.status, 202)
        return answer.getheader("Location")

    def upload(self, data=DATA, name="new/one"):
        place, digest = self.session(name), mkkit.digest_of(data)
        answer, _ = self.send("PUT", f"{place}&digest={digest}", data)
        self.assertEqual(answer.status, 201)
        return digest

    def refusal(self, answer):
        return answer[0].status, json.loads(answer[1])["errors"][0]["code"]

    def test_one_put(self):
        digest = self.upload()
        answer, body = self.get(f"/v2/new/one/blobs/{digest}")
        self.assertEqual((answer.status, body), (200, self.DATA))

    def test_stream_and_state(self):
        place = self.session()
        answer, _ = self.send("PATCH", place, self.DATA, chunked=True)
        self.assertEqual((answer.status, answer.getheader("Range")), (202, "0-9999"))
        row = self.rows(0)[-1]
        self.assertEqual((row["received"], row["chunked"]), (10000, True))
        digest, moved = mkkit.digest_of(self.DATA), answer.getheader("Location")
        self.assertNotEqual(place, moved)
        self.assertEqual(self.send("PUT", f"{moved}&digest={digest}")[0].status, 201)
        self.assertEqual(self.get(f"/v2/new/one/blobs/{digest}")[1], self.DATA)

    def test_stale_state_ends_the_session(self):
        place = self.session()
        moved = self.send("PATCH", place, b"x" * 8)[0].getheader("Location")
        self.assertEqual(self.get(self.local(moved))[0].getheader("Range"), "0-7")
        self.assertEqual(self.refusal(self.send("PATCH", place, b"x" * 8)),
                         (404, "BLOB_UPLOAD_INVALID"))
        self.assertEqual(self.refusal(self.get(self.local(moved))), (404, "BLOB_UPLOAD_UNKNOWN"))

    def test_delete_of_a_session(self):
        place = self.session()
        self.assertEqual(self.send("DELETE", place)[0].status, 204)
        self.assertEqual(self.get(self.local(place))[0].status, 404)

    def test_wrong_digest(self):
        answer = self.send("PUT", f"{self.session()}&digest=sha256:{64 * '0'}", b"x")
        self.assertEqual(self.refusal(answer), (400, "DIGEST_INVALID"))

    def test_manifest(self):
        config = self.upload(b"{}", "new/two")
        data = json.dumps({"config": {"digest": config}, "layers": []}).encode()
        path = "/v2/new/two/manifests/v1"
        answer, _ = self.send("PUT", path, data, kind=mkkit.MANIFEST)
        self.assertEqual((answer.status, answer.getheader("Docker-Content-Digest")),
                         (201, mkkit.digest_of(data)))
        self.assertEqual(self.get(path, ACCEPT)[1], data)
        self.assertEqual(self.refusal(self.send("PUT", path, data, kind="text/plain")),
                         (400, "MANIFEST_INVALID"))
        lost = json.dumps({"config": {"digest": "sha256:" + 64 * "0"}, "layers": None})
        self.assertEqual(self.refusal(self.send("PUT", path, lost.encode(),
                                                kind=mkkit.MANIFEST)),
                         (400, "MANIFEST_BLOB_UNKNOWN"))

    def test_refusals(self):
        self.arm(method="PATCH", action="refuse", code=416, after=5000)
        answer, _ = self.send("PATCH", self.session(), b"x" * 100000)
        self.assertEqual((answer.status, answer.getheader("Connection")), (416, "close"))
        self.assertLess(self.rows(0)[-1]["received"], 100001)
        self.connection.close()
        self.arm(method="POST", action="refuse", code=401)
        self.assertEqual(self.send("POST", "/v2/a/blobs/uploads/")[0].status, 401)
        self.arm(method="PATCH", action="hangup", after=10)
        with self.assertRaises((ConnectionError, http.client.BadStatusLine)):
            self.send("PATCH", self.session(), b"x" * 100)

    def test_lost_answer(self):
        place, digest = self.session(), mkkit.digest_of(b"lost")
        self.arm(method="PUT", action="lost")
        with self.assertRaises(http.client.RemoteDisconnected):
            self.send("PUT", f"{place}&digest={digest}", b"lost")
        self.connection.close()
        self.assertEqual(self.get(f"/v2/new/one/blobs/{digest}")[1], b"lost")

    def test_locations(self):
        self.arm(method="POST", action="location", to="relative")
        self.assertTrue(self.session().startswith("/v2/new/one/blobs/uploads/"))
        self.arm(method="POST", action="location", to="other")
        self.assertIn(f":{self.ports['REDIRECT']}/v2/", self.session())
        self.arm(method="POST", action="location", to="nowhere")
        self.assertIsNone(self.session())


class Faults(Served):
    def wait_busy(self, count):
        deadline = time.monotonic() + 5
        while self.app.journal.busy != count and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(self.app.journal.busy, count)

    def broken(self, kind, text="0-99999", **rule):
        self.arm(**rule)
        with self.assertRaises(kind):
            self.blob_get(text)
        self.connection.close()
        answer, body = self.blob_get(text)  # once is once
        self.assertEqual((answer.status, len(body)), (206, 100000))

    def test_drop_and_rst(self):
        self.broken(http.client.IncompleteRead, action="drop", after=500)
        self.broken(ConnectionResetError, action="rst", after=500)
        self.broken(http.client.IncompleteRead, action="chunkcut", after=500)

    def test_garbage_and_huge_header(self):
        self.broken(http.client.BadStatusLine, action="garbage")
        self.broken(http.client.LineTooLong, action="hugehdr")

    def test_nth_and_count(self):
        self.arm(action="status", code=503, retry_after=1, nth=2, count=2)
        answers = [self.blob_get("0-9")[0] for _ in range(4)]
        self.assertEqual([answer.status for answer in answers], [206, 503, 503, 206])
        self.assertEqual(answers[1].getheader("Retry-After"), "1")

    def test_stall_ends_when_released(self):
        self.arm(action="stall", after=100, count=0)
        self.connection.request("GET", f"/v2/a/kit/blobs/{self.blob}",
                                headers={"Range": "bytes=0-999"})
        answer = self.connection.getresponse()
        self.assertEqual(answer.read(100), self.bytes[:100])
        self.assertEqual(self.app.journal.busy, 1)
        self.app.clear_rules()
        self.assertEqual(answer.read(), self.bytes[100:1000])

    def test_stall_ends_when_the_client_leaves(self):
        self.arm(action="stallhdr")
        self.connection.request("GET", f"/v2/a/kit/blobs/{self.blob}")
        self.wait_busy(1)
        self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.wait_busy(0)

    def test_wrong_ranges(self):
        self.arm(action="wrongrange", shift=512)
        answer, body = self.blob_get("0-99")
        self.assertEqual(answer.getheader("Content-Range"), f"bytes 512-611/{self.blob_size}")
        self.assertEqual(body, self.bytes[512:612])
        self.arm(action="norange")
        self.assertIsNone(self.blob_get("0-99")[0].getheader("Content-Range"))
        self.arm(action="short206", length=10)
        self.assertEqual(self.blob_get("0-99")[1], self.bytes[:10])
        self.arm(action="wrongtotal")
        self.assertIn(f"/{self.blob_size + 1}",
                      self.blob_get("0-9")[0].getheader("Content-Range"))
        self.arm(action="full200")
        answer, body = self.blob_get("50-99")
        self.assertEqual((answer.status, body), (200, self.bytes))

    def test_odd_bodies(self):
        self.arm(action="chunked")
        self.assertEqual(self.blob_get("0-99")[1], self.bytes[:100])
        self.arm(action="gzip")
        self.assertEqual(self.blob_get("0-9")[0].getheader("Content-Encoding"), "gzip")
        self.arm(action="long", extra=5)
        self.assertEqual(self.blob_get("0-9")[1], self.bytes[:10] + b"xxxxx")
        self.arm(action="flip", at=3)
        body = self.blob_get("0-9")[1]
        self.assertEqual([i for i in range(10) if body[i] != self.bytes[i]], [3])
        self.arm(action="html")
        self.assertEqual(self.blob_get("0-9")[0].status, 200)
        self.arm(action="nolen")
        self.assertEqual(self.blob_get("0-9")[1], self.bytes[:10])

    def test_manifests_can_lie(self):
        self.arm(path="manifests", action="edit")
        body = self.get("/v2/a/kit/manifests/v1", ACCEPT)[1]
        self.assertNotEqual(mkkit.digest_of(body), self.manifest)
        self.arm(path="manifests", action="truncate")
        self.assertLess(len(self.get("/v2/a/kit/manifests/v1", ACCEPT)[1]), len(body))

    def follow(self, location, headers=None):
        place = location.removeprefix("http://")
        host, _, path = place.partition("/")
        connection = http.client.HTTPConnection(host, timeout=5)
        self.addCleanup(connection.close)
        connection.request("GET", "/" + path, headers={"Range": "bytes=0-9",
                                                       **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def test_redirect_to_signed_url(self):
        self.arm(action="redirect", ttl=60)
        location = self.blob_get("0-9")[0].getheader("Location")
        self.assertIn(f":{self.ports['REDIRECT']}/", location)
        first = len(self.rows(0))
        self.assertEqual(self.follow(location, {"Authorization": "x"}),
                         (206, self.bytes[:10]))
        row, = self.rows(first)
        self.assertEqual((row["server"], row["authorization"]), ("redirect", True))
        self.assertEqual(self.follow(location.replace("expires=", "expires=9"))[0], 403)
        self.arm(action="redirect", ttl=-1)
        self.assertEqual(self.follow(self.blob_get("0-9")[0].getheader("Location"))[0], 403)

    def test_relative_redirect_and_loop(self):
        self.arm(action="redirect", to="relative", count=0)
        answer, _ = self.blob_get("0-9")
        self.assertEqual(answer.status, 307)
        self.assertEqual(self.blob_get("0-9", answer.getheader("Location"))[1],
                         self.bytes[:10])
        self.app.clear_rules()
        self.arm(action="loop", count=0)
        path = None
        for _ in range(3):
            path = self.blob_get("0-9", path)[0].getheader("Location")
        self.assertTrue(path.endswith("turn=3"))

    def test_unknown_action_is_refused(self):
        with self.assertRaises(ValueError):
            faults.Rule({"action": "nosuch"})


class Links(Served):
    def tearDown(self):
        self.app.link.__init__()

    def timed(self):
        began = time.monotonic()
        self.blob_get("0-199999")
        return time.monotonic() - began

    def test_latency_and_rates(self):
        self.app.link.__init__(latency_ms=30)
        self.assertGreaterEqual(self.timed(), 0.06)  # the first of a connection
        self.assertGreaterEqual(self.timed(), 0.03)
        self.app.link.__init__(rate_total=2_000_000)
        self.assertGreaterEqual(self.timed(), 0.09)
        self.connection.close()
        self.app.link.__init__(rate_conn=2_000_000)
        self.assertGreaterEqual(self.timed(), 0.09)


class Secure(unittest.TestCase):
    def test_tls_and_control(self):
        with tempfile.TemporaryDirectory() as folder:
            layer = mkkit.Layer("model", "w.bin", [("w.bin", 0o644, (1, SIZE))])
            mkkit.store(folder + "/layout", "v1", "sample", [layer])
            _, ports = registry.start(registry.parse_args(
                ["--layout", f"kit={folder}/layout", "--tls", folder + "/tls"]))
            trust = ssl.create_default_context(cafile=folder + "/tls/ca.pem")
            connection = http.client.HTTPSConnection("127.0.0.1", ports["PORT"], timeout=5,
                                                     context=trust)
            connection.request("GET", f"/v2/kit/blobs/{layer.digest}")
            body = connection.getresponse().read()
            connection.close()
            self.assertEqual(mkkit.digest_of(body), layer.digest)
            port = ports["CONTROL"]
            ctl.call(port, "/rules", {"action": "drop"})
            self.assertEqual(len(list(ctl.rows(port, ["path=blobs"], 2))), 1)


class Forms(unittest.TestCase):
    def test_golden_layer_of_kit(self):
        layer = mkkit.Layer("model", "model/a.txt", [("model", 0o755, None),
                                                     ("model/a.txt", 0o644, b"hi\n")])
        data = b"".join(layer.parts())
        layer.digest, layer.size = mkkit.digest_of(data), len(data)
        self.assertEqual(layer.digest, "sha256:74fe57de5f642b904f00589c094eaf57"
                                       "503b8fc042e844a1dd5c5b3c86551ea0")
        config, _ = mkkit.documents("gv", [layer])
        self.assertTrue(mkkit.digest_of(config).startswith("sha256:cb1993556"))

    def test_layers_of_real_kits_come_out_the_same(self):
        found = 0
        for blob in pathlib.Path(HERE, "../data/kits").glob("*/store/blobs/sha256/*"):
            data = blob.read_bytes()
            if data[257:262] != b"ustar":
                continue
            with tarfile.open(blob) as archive:
                entries = [(member.name, member.mode,
                            None if member.isdir() else archive.extractfile(member).read())
                           for member in archive]
            self.assertEqual(b"".join(kittar.archive(entries)), data, blob.name)
            found += 1
        self.assertGreater(found, 40)

    def test_walk_is_in_kits_order(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("d/b/z", "d/b.txt", "d/a"):
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(name)
            names = [entry[0] for entry in mkkit.walk(folder, "d")]
        self.assertEqual(names, ["d", "d/a", "d/b", "d/b/z", "d/b.txt"])

    def test_pattern(self):
        whole = content.pattern_bytes(3, 0, 3 << 20)
        self.assertEqual(len(whole), 3 << 20)
        for offset, length in ((0, 1), (5, 20), ((1 << 20) - 9, 40), (1 << 20, 16)):
            self.assertEqual(content.pattern_bytes(3, offset, length),
                             whole[offset:offset + length])
        blocks = {hashlib.sha256(whole[i << 16:(i + 1) << 16]).digest() for i in range(48)}
        self.assertEqual(len(blocks), 48)

    def test_tags_of_kits_store(self):
        kits = os.path.join(HERE, "../data/kits/kit-1.11/store")
        self.assertIn("basic-tar", store.open_layout(kits).tags)


if __name__ == "__main__":
    unittest.main()
