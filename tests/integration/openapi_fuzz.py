"""Requests made from the node's own OpenAPI document, and a judgement of each answer by the same document.

    fuzz = Fuzzer(node.admin, seed=1)
    for _ in range(1000):
        fuzz.step()

A step takes an operation, fills its path with keys of rows that exist (or do not), and sends a body that fits the operation's schema, one
that breaks it in one place, one that was changed at random in many, or bytes that are no body at all. Every answer must have a status that
the document names, and a body that fits that status's schema; a body that breaks the schema must be refused. What went wrong is raised as
Finding, whose text repeats the request.
"""
import collections
import copy
import json
import random
import urllib.parse
import uuid

import jsonschema

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
# Texts that some field or other takes, and some that none should.
GOOD = ["a", "name-1", "example.com", "*.example.com", "example.*", "127.0.0.1", "10.0.0.0/8", "::1", "/", "/path", "/a/b", "~/r[0-9]+$",
        "http://example.com/x", "127.0.0.1:8000", "GET", "POST", "x-header", "tag", "env", "MY_VAR_", "utf8-éß", "8000", "1.2.3.4:80"]
# What fields of these names are likely to take.
LIKELY = {"host": ["example.com", "127.0.0.1"], "hosts": ["example.com", "*.example.com"], "paths": ["/a", "/b/c", "~/r[0-9]+$"],
          "methods": ["GET", "POST"], "url": ["http://example.com/x", "https://example.com:8443"], "path": ["/p"], "name": ["name-{n}"],
          "username": ["name-{n}"], "instance_name": ["name-{n}"], "custom_id": ["id-{n}"], "target": ["127.0.0.1:{n}", "a.example:80"],
          "tags": ["one", "two"], "snis": ["a.example.com"], "hash_on_cookie_path": ["/"]}
BAD = ["", " ", "\t", "a b", "a,b", "a/b", "//", "http://", "[::1", "%00", "%zz", "\u0001", "\ud7ff", "😀", "\u202e", "x" * 300, "{vault://env/x}",
       "{vault://", "~(", "~(((a*)*)*)*$", "/\\x", "null", "-1", "1e400", "NaN", "../../etc/passwd", "'; drop table routes; --", "${{ x }}"]
JUNK = [None, True, False, 0, -1, 1, 1.5, 2**31, 2**53, 2**63, -2**63, 10**20, -10**30, 1e308, "", "a", [], [None], [[]], {}, {"a": {}}, {"id": None}, ["a"] * 50]


# A whole number beyond 64 bits is a float in Lua's arithmetic and in what is answered, and an integer still.
VALIDATOR = jsonschema.validators.extend(jsonschema.Draft4Validator, type_checker=jsonschema.Draft4Validator.TYPE_CHECKER.redefine(
    "integer", lambda _, n: not isinstance(n, bool) and (isinstance(n, int) or isinstance(n, float) and n.is_integer())))


class Finding(AssertionError):
    """The answer contradicts the document."""


def json_schema(value):
    """OpenAPI 3.0's dialect as plain JSON Schema: what may be null says so by its type."""
    if isinstance(value, list):
        return [json_schema(v) for v in value]
    if not isinstance(value, dict):
        return value
    out = {k: v if k in ("default", "enum", "example") else json_schema(v) for k, v in value.items() if k != "nullable"}
    return {"anyOf": [{"type": "null"}, out]} if value.get("nullable") is True else out


class Fuzzer:
    def __init__(self, admin, seed):
        self.admin, self.rng, self.seed = admin, random.Random(seed), seed
        self.document = admin.get("/openapi").json()
        self.plain = json_schema(self.document)
        self.operations = [(path, item, method) for path, item in sorted(self.document["paths"].items()) for method in METHODS
                           if method in item]
        self.collections = [o for o in self.operations if o[2] == "post" and o[0].count("/") == 1]
        self.validators = {}
        self.keys = collections.defaultdict(list)       # by entity: ids and names of rows that were made
        self.seen = collections.Counter()                # by "METHOD path status"

    # ---- the document ----

    def resolve(self, part):
        while "$ref" in part:
            node = self.document
            for name in part["$ref"][2:].split("/"):
                node = node[name]
            part = node
        return part

    def validator(self, schema):
        key = json.dumps(schema, sort_keys=True)
        if key not in self.validators:
            # Format is not asserted: it is what the node is asked about.
            self.validators[key] = VALIDATOR(
                json_schema(schema), resolver=jsonschema.RefResolver("", self.plain))
        return self.validators[key]

    # ---- values ----

    def text(self, schema, name):
        if schema.get("format") == "uuid":
            return str(uuid.UUID(int=self.rng.getrandbits(128)))
        if name in LIKELY and self.rng.random() < 0.9:
            return self.rng.choice(LIKELY[name]).replace("{n}", str(self.rng.randrange(1, 9999)))
        pool = GOOD + [f"n{self.rng.randrange(10**6)}"] * 4
        value = self.rng.choice(pool if self.rng.random() < 0.95 else BAD)
        low, high = schema.get("minLength", 0), schema.get("maxLength", 10**6)
        return (value + "a" * low)[:max(low, min(high, len(value)))] if value == "" or len(value) > high else value

    def all_keys(self, entity):
        return [k for e, keys in self.keys.items() if entity in ("", e) for k in keys[-20:]]

    def number(self, schema, whole):
        low, high = schema.get("minimum", -1000), schema.get("maximum", 100000)
        if schema.get("exclusiveMinimum"):
            low += 1
        value = self.rng.choice([low, high, low + (high - low) * self.rng.random(), low + self.rng.random() * min(10, high - low)])
        return int(value) if whole else value

    def foreign(self, schema):
        keys = self.all_keys(schema["x-reference"])
        if keys and self.rng.random() < 0.8:
            key = self.rng.choice(keys)
            return {"id": key} if len(key) == 36 and key.count("-") == 4 else {"name": key}
        return {"id": str(uuid.UUID(int=self.rng.getrandbits(128)))}

    def record(self, schema, depth):
        required = set(schema.get("required", []))
        if "anyOf" in schema:
            required |= set(self.rng.choice(schema["anyOf"]).get("required", []))
        share = self.rng.choice([0, 0.15, 0.5]) if depth == 0 else 0.3
        out = {}
        for name, part in schema.get("properties", {}).items():
            part = self.resolve(part)
            if name in required or (not part.get("readOnly") and name != "id" and self.rng.random() < share):
                out[name] = self.value(part, depth + 1, name)
        if "properties" not in schema and isinstance(schema.get("additionalProperties"), dict):
            for _ in range(self.rng.randrange(3)):
                out[self.rng.choice(["x-a", "b", "c_d"])] = self.value(schema["additionalProperties"], depth + 1)
        return out

    def value(self, schema, depth=0, name=""):
        """A value that fits the schema, as far as the schema says what fits."""
        schema = self.resolve(schema)
        if "oneOf" in schema:
            return self.value(self.rng.choice(schema["oneOf"]), depth)
        if schema.get("nullable") and self.rng.random() < 0.1:
            return None
        if "enum" in schema:
            return self.rng.choice(schema["enum"])
        kind = schema.get("type")
        if kind is None and "anyOf" in schema:
            return self.value(schema["anyOf"][0], depth)
        if kind == "object":
            return self.foreign(schema) if "x-reference" in schema else self.record(schema, depth)
        if kind == "array":
            low = schema.get("minItems", 0)
            n = self.rng.randint(low, max(low, min(3, schema.get("maxItems", 3))))
            return [self.value(schema.get("items", {}), depth + 1, name) for _ in range(n)]
        if kind in ("integer", "number"):
            return self.number(schema, kind == "integer")
        if kind == "boolean":
            return self.rng.random() < 0.5
        return self.text(schema, name) if kind == "string" else self.rng.choice(JUNK)

    def places(self, value, path=()):
        """Paths of all members and elements."""
        found = []
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
        for key, inner in items:
            found += [path + (key,), *self.places(inner, path + (key,))]
        return found

    def changed(self, body):
        """The body with something else in one place."""
        body = copy.deepcopy(body)
        places = self.places(body)
        if not places or self.rng.random() < 0.2:
            body[self.rng.choice(["no-such-field", "", "id ", "config"])] = self.rng.choice(JUNK)
            return body
        *above, last = self.rng.choice(places)
        node = body
        for key in above:
            node = node[key]
        if isinstance(node, dict) and self.rng.random() < 0.2:
            del node[last]
        else:
            node[last] = self.rng.choice(BAD if isinstance(node[last], str) and self.rng.random() < 0.5 else JUNK)
        return body

    # ---- requests ----

    def path(self, pattern):
        parts = []
        for part in pattern.split("/"):
            if part.startswith("{"):
                entity = part[1:-1]
                keys = self.all_keys(entity)
                if keys and self.rng.random() < 0.75:
                    part = self.rng.choice(keys)
                else:
                    part = self.rng.choice([str(uuid.UUID(int=self.rng.getrandbits(128))), self.rng.choice(GOOD), self.rng.choice(BAD), "plugins",
                                            "services", "debug", "notice", entity])
                part = urllib.parse.quote(part, safe="") or "%20"
            parts.append(part)
        return "/".join(parts)

    def query(self, operation):
        args = []
        for p in operation.get("parameters", []):
            p = self.resolve(p)
            if self.rng.random() < 0.4:
                value = self.value(p["schema"]) if self.rng.random() < 0.7 else self.rng.choice(BAD + ["0", "1001", "1,2", "a/b,c"])
                args.append((p["name"], str(value)))
        if self.rng.random() < 0.05:
            args.append((self.rng.choice(BAD), self.rng.choice(BAD)))
        return urllib.parse.urlencode(args, errors="replace")

    def form_pairs(self, value, name=""):
        if isinstance(value, dict):
            return [p for k, v in value.items() for p in self.form_pairs(v, f"{name}.{k}" if name else k)]
        if isinstance(value, list):
            index = self.rng.choice(["[]", None])
            return [p for i, v in enumerate(value) for p in self.form_pairs(v, name + (index or f"[{i + 1}]"))]
        text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        return [(name, text)]

    def encode(self, body):
        """Bytes and content type: mostly JSON."""
        how = self.rng.random()
        if how < 0.8:
            return json.dumps(body).encode(), "application/json"
        pairs = self.form_pairs(body)
        if how < 0.9:
            return urllib.parse.urlencode(pairs, errors="replace").encode(), "application/x-www-form-urlencoded"
        mark = "----" + str(self.rng.getrandbits(64))
        parts = "".join(f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in pairs)
        return f"{parts}--{mark}--\r\n".encode("utf-8", "replace"), f"multipart/form-data; boundary={mark}"

    def broken_bytes(self):
        return self.rng.choice([(b"{", "application/json"), (b"[1]", "application/json"), (b"null", "application/json"), (b"\xff\xfe", "application/json"),
                                (b'{"a":' * 3000, "application/json"), (b"x", "text/plain"), (b"%zz=%00&&=", "application/x-www-form-urlencoded"),
                                (b"a[b]=1&a[]=2&a.b=3&a=4", "application/x-www-form-urlencoded"),
                                (b"--x\r\n", "multipart/form-data; boundary=x"), (b"{}", "application/jsonx")])

    def request(self, operation):
        """(body bytes, content type, whether the document says that it cannot be accepted)"""
        if "requestBody" not in operation:
            return None, None, False
        how = self.rng.random()
        if how < 0.07:
            return (*self.broken_bytes(), False)
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = self.value(schema)
        if how < 0.4:
            body = self.changed(body)
        elif how < 0.5:
            for _ in range(5):
                body = self.changed(body)
        data, kind = self.encode(body)
        must_refuse = kind == "application/json" and how >= 0.07 and self.breaks(schema, body)
        return data, kind, must_refuse

    def breaks(self, schema, body):
        """Whether the body contradicts the schema in a way that the node has to see: {} and [] are one thing to the interface, and a field
        that the node writes itself is not read."""
        def lenient(v):
            if isinstance(v, dict):
                return {k: lenient(x) for k, x in v.items() if k != "updated_at"}
            return [lenient(x) for x in v] if isinstance(v, list) else v
        if any(self.inner(body, p) in ([], {}) for p in self.places(body)):
            return False
        return not self.validator(schema).is_valid(lenient(body))

    @staticmethod
    def inner(value, path):
        for key in path:
            value = value[key]
        return value

    # ---- answers ----

    def judge(self, path, method, operation, url, data, kind, must_refuse, r):
        def fail(why):
            raise Finding(f"seed {self.seed}: {method.upper()} {url} {kind} {data!r}\n-> {r.status_code} {r.text[:600]}\n{why}")
        self.seen[f"{method.upper()} {path} {r.status_code}"] += 1
        documented = operation["responses"].get(str(r.status_code))
        if documented is None:
            fail(f"not among {sorted(operation['responses'])}")
        if must_refuse and r.status_code < 400:
            fail("the body breaks the schema and was accepted")
        content = self.resolve(documented).get("content", {}).get("application/json")
        if content is None or method == "head":
            if r.content:
                fail("a body where none is documented")
            return
        if not r.headers.get("Content-Type", "").startswith("application/json"):
            fail("not JSON")
        error = jsonschema.exceptions.best_match(self.validator(content["schema"]).iter_errors(r.json()))
        if error is not None:
            fail(f"does not fit: {error.message} at {list(error.absolute_path)}")

    def learn(self, path, method, r):
        """Keys of rows that came to be, for later paths and references."""
        if r.status_code not in (200, 201) or method not in ("post", "put") or "/validate" in path:
            return
        row, last = r.json(), path.rstrip("/").split("/")[-1].strip("{}")
        entity = {"service": "services", "route": "routes", "consumer": "consumers", "certificate": "certificates"}.get(last, last)
        for key in ("id", "name", "username", "target", "prefix", "instance_name"):
            if isinstance(row.get(key), str) and row[key]:
                self.keys[entity].append(row[key])

    def step(self):
        path, item, method = self.rng.choice(self.collections if self.rng.random() < 0.2 else self.operations)
        if method in ("head", "options", "delete") and self.rng.random() < 0.6:
            method = self.rng.choice([m for m in METHODS if m in item])
        operation = item[method]
        url, query = self.path(path), self.query(operation)
        data, kind, must_refuse = self.request(operation)
        full = url + ("?" + query if query else "")
        r = self.admin.request(method.upper(), full, data=data, headers={"Content-Type": kind} if kind else {})
        self.judge(path, method, operation, full, data, kind, must_refuse, r)
        self.learn(path, method, r)
