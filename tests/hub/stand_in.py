"""A local stand-in for the Hub's HTTP interface, as far as huggingface_hub uses it for models: repositories, commits,
LFS by the basic transfer, pinned downloads with ranges, and the Hub's error headers.

Everything lies in memory. `requests` records every call; faults are set by the tests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_" + "standinstandinstandin01"
_LFS = (".safetensors", ".gguf", ".bin")


@dataclass
class Repo:
    """branch → commit, commit → {path: content}."""

    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """Make files the tree of a new commit on a branch."""
        parent = self.branches.get(branch, "")
        text = parent + json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
        sha = hashlib.sha1(f"{len(self.commits)} {text}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def tree(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files of a branch or a commit."""
        sha = self.branches.get(revision, revision)
        return (sha, self.commits[sha]) if sha in self.commits else None


class StandIn:
    """The server, on a free port of loopback.

    Attributes:
        cut: path → byte counts; the next downloads of that file break off there.
        spoil: paths whose downloads come with their last byte changed.
        drop_uploads: so many uploads have their connection dropped.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self.cut: dict[str, list[int]] = {}
        self.spoil: set[str] = set()
        self.drop_uploads = 0
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def content_url(self) -> str:
        """Large files lie on a host of another name, as they do for the Hub: the client then asks no further there."""
        return self.url.replace("127.0.0.1", "localhost")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> str:
        """A repository with one commit more; returns the commit."""
        repo = self.repos.setdefault(name, Repo(private))
        return repo.commit("main", files)

    def counted(self, start: str) -> int:
        """Requests whose method and path begin so."""
        return sum(request.startswith(start) for request in self.requests)


def is_lfs(path: str) -> bool:
    return path.endswith(_LFS)


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path: str, content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
    if is_lfs(path):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found


class _Handler(BaseHTTPRequestHandler):
    hub: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._take("GET")

    def do_HEAD(self) -> None:
        self._take("HEAD")

    def do_POST(self) -> None:
        self._take("POST")

    def do_PUT(self) -> None:
        self._take("PUT")

    def _take(self, method: str) -> None:
        place = urlsplit(self.path)
        path = unquote(place.path).strip("/")
        self.hub.requests.append(f"{method} {path}")
        body = self._body()
        parts = path.split("/")
        if parts[0] == "lfs":
            return self._upload(parts[1], body)
        if parts[0] == "cdn":
            return self._content(parts[1], self.hub.lfs[parts[2]])
        if path == "api/whoami-v2":
            return self._json({"name": "org", "type": "user"}) if self._signed_in() else self._error(401)
        if path == "api/repos/create":
            return self._create(json.loads(body))
        if path == "api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        if parts[0] == "api":
            return self._api(method, "/".join(parts[2:4]), parts[4:], body, parse_qs(place.query))
        return self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _signed_in(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repo(self, name: str) -> Repo | None:
        """The repository, where it may be read; else the answer the Hub gives has been sent."""
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self._signed_in()):
            self._error(404, "RepoNotFound") if self._signed_in() else self._error(401)
            return None
        return repo

    def _api(self, method: str, name: str, rest: list[str], body: bytes, query: dict[str, list[str]]) -> None:
        repo = self._repo(name)
        if repo is None:
            return None
        verb, revision = (rest[0], "/".join(rest[1:])) if rest else ("revision", "main")
        if method == "POST" and not self._signed_in():
            return self._error(401)
        if verb == "branch":
            repo.branches.setdefault(revision, repo.branches["main"])
            return self._json({})
        found = repo.tree(revision) if verb != "refs" else ("", {})
        if found is None:
            return self._error(404, "RevisionNotFound")
        sha, files = found
        if verb == "preupload":
            modes = [self._mode(file["path"], files) for file in json.loads(body)["files"]]
            return self._json({"files": modes})
        if verb == "commit":
            return self._commit(name, repo, revision, files, body)
        if verb == "tree":
            return self._json([_entry(path, content) for path, content in files.items()])
        siblings = [_sibling(path, content) for path, content in files.items()]
        return self._json({"id": name, "sha": sha, "private": repo.private, "siblings": siblings, "tags": []})

    @staticmethod
    def _mode(path: str, files: dict[str, bytes]) -> dict[str, Any]:
        mode: dict[str, Any] = {"path": path, "uploadMode": "lfs" if is_lfs(path) else "regular", "shouldIgnore": False}
        if path in files:
            content = files[path]
            mode["oid"] = hashlib.sha256(content).hexdigest() if is_lfs(path) else git_oid(content)
        return mode

    def _create(self, asked: dict[str, Any]) -> None:
        if not self._signed_in():
            return self._error(401)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != "org":
            return self._error(403)
        if name in self.hub.repos:
            return self._json({"url": f"{self.hub.url}/{name}"}, 409)
        self.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=asked["visibility"] == "private")
        return self._json({"url": f"{self.hub.url}/{name}"})

    def _validate(self, content: str) -> None:
        head = yaml.safe_load(content.split("---\n")[1])
        kinds = {"language": list, "license": str, "library_name": str, "tags": list}
        wrong = [name for name, kind in kinds.items() if not isinstance(head.get(name), kind)]
        wrong += ["license"] if head["license"] not in ("other", "apache-2.0") else []
        wrong += ["license_name"] if head["license"] == "other" and "license_name" not in head else []
        self._json({"errors": [{"message": f"{name} is wrong"} for name in wrong]}, 400 if wrong else 200)

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for item in asked["objects"]:
            action = {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}}
            objects.append({**item, **({} if item["oid"] in self.hub.lfs else action)})
        self._json({"transfer": "basic", "objects": objects})

    def _upload(self, oid: str, body: bytes) -> None:
        if self.hub.drop_uploads:
            self.hub.drop_uploads -= 1
            self.close_connection = True
            return self.connection.close()
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.lfs[oid] = body
        return self._json({})

    def _commit(self, name: str, repo: Repo, branch: str, files: dict[str, bytes], body: bytes) -> None:
        new = dict(files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                new[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                new[value["path"]] = self.hub.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                del new[value["path"]]
        sha = repo.commit(branch, new)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return None
        found = repo.tree(revision)
        if found is None:
            return self._error(404, "RevisionNotFound")
        sha, files = found
        if path not in files:
            return self._error(404, "EntryNotFound", {"X-Repo-Commit": sha})
        content = files[path]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{git_oid(content)}"'}
        if not is_lfs(path):
            return self._content(path, content, headers)
        oid = hashlib.sha256(content).hexdigest()
        self.hub.lfs[oid] = content
        linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        return self._send(302, b"", {**headers, **linked, "Location": f"{self.hub.content_url}/cdn/{path}/{oid}"})

    def _content(self, path: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        """The bytes of a file, from where the client asks for; broken off or spoilt where a test wants it so."""
        wanted, status, start = self.headers.get("Range"), 200, 0
        more = dict(headers or {})
        if wanted:
            self.hub.ranges.append(wanted)
            start, status = int(wanted.removeprefix("bytes=").split("-")[0]), 206
            more["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        part = content[start:]
        if path in self.hub.spoil:
            part = part[:-1] + bytes([part[-1] ^ 1])
        cuts = self.hub.cut.get(path) if self.command == "GET" else None
        self._send(status, part, more, cut=cuts.pop(0) if cuts else None)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str = "", more: dict[str, str] | None = None) -> None:
        self._send(status, b"{}", {**({"X-Error-Code": code} if code else {}), **(more or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.close_connection = True


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    entry = _entry(path, content)
    found = {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]}
    if "lfs" in entry:
        found["lfs"] = {"sha256": entry["lfs"]["oid"], "size": entry["size"], "pointerSize": 130}
    return found
