"""Wrong requests to the Admin API: each gets the interface's status and body to the letter, none of them changes anything, and the node
lives. A row is a request and its answer; ROWS are those of the entities, MALFORMED those that no entity sees."""
import json
import sqlite3
import subprocess

import pytest

from test_acceptance_admin import make_pem, pages

NONE = "22222222-2222-4222-8222-222222222222"
TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
NOT_FOUND = {"message": "Not found"}
NO_METHOD = {"message": "Method not allowed"}
NO_JSON = {"message": "Cannot parse JSON body"}
NO_FORM = {"message": "Cannot parse form body"}
NO_TYPE = {"message": "Unsupported media type"}
SIZE = {"code": 9, "name": "invalid size", "message": "size must be an integer between 1 and 1000"}


def made(n):
    """Ids of the rows that exist."""
    return f"{n:08d}-1111-4111-8111-111111111111"


SERVICE, ROUTE, CONSUMER, PLUGIN, UPSTREAM, CERTIFICATE, SNI, AUTHORITY, SET, KEY, VAULT, GROUP, TARGET = (made(n) for n in range(1, 14))


def violation(**fields):
    """Code 2 for one field, whose text is given."""
    (name, text), = fields.items()
    return {"code": 2, "name": "schema violation", "message": f"schema violation ({name}: {text})", "fields": fields}


def violations(message, **fields):
    """Code 2 with the message spelled out."""
    return {"code": 2, "name": "schema violation", "message": message, "fields": fields}


def entity(text, **fields):
    """Code 2 for the entity as a whole, and the fields that follow from it."""
    more = "".join(f"; {name}: {said}" for name, said in fields.items())
    start = f"{len(fields) + 1} schema violations" if fields else "schema violation"
    return {"code": 2, "name": "schema violation", "message": f"{start} ({text}{more})", "fields": {"@entity": [text], **fields}}


def taken(**fields):
    """Code 5."""
    (name, value), = fields.items()
    return {"code": 5, "name": "unique constraint violation", "message": f"UNIQUE violation detected on '{{{name}=\"{value}\"}}'",
            "fields": fields}


def existing(key):
    """Code 3."""
    return {"code": 3, "name": "primary key violation", "message": f"primary key violation on key '{{id=\"{key}\"}}'", "fields": {"id": key}}


def missing(field, parent):
    """Code 4: a reference to an id that no row has."""
    return {"code": 4, "name": "foreign key violation", "fields": {field: {"id": NONE}},
            "message": f"the foreign key '{{id=\"{NONE}\"}}' does not reference an existing '{parent}' entity."}


def referenced(child, parent):
    """Code 4: something still refers to the row."""
    return {"code": 4, "name": "foreign key violation", "fields": {"@referenced_by": child},
            "message": f"an existing '{child}' entity references this '{parent}' entity"}


def unresolved(field, parent, key):
    """Code 13: a reference by a name that no row has."""
    text = f"the foreign key cannot be resolved with '{{name=\"{key}\"}}' for an existing '{parent}' entity"
    return {"code": 13, "name": "foreign keys unresolved", "message": f"foreign key unresolved ({field}.name: {text})",
            "fields": {field: {"name": text}}}


def bad_key(key):
    """Code 1."""
    return {"code": 1, "name": "invalid primary key", "message": f"invalid primary key: '{{id=\"{key}\"}}'", "fields": {"id": key}}


def no_option(text):
    """Code 11."""
    return {"code": 11, "name": "invalid options", "message": f"invalid option (tags: {text})", "options": {"tags": text}}


def no_offset(text, why):
    """Code 7."""
    return {"code": 7, "name": "invalid offset", "message": f"'{text}' is not a valid offset: bad {why} encoding"}


# method, path, kind of body, body, status, answer
MALFORMED = [
    ("POST", "/services", "json", '{"host":', 400, NO_JSON),
    ("POST", "/services", "json", '[1, 2]', 400, NO_JSON),
    ("POST", "/services", "json", '"text"', 400, NO_JSON),
    ("POST", "/services", "json", 'null', 400, NO_JSON),
    ("POST", "/services", "json", '{"host":"h"} {"host":"h"}', 400, NO_JSON),
    ("POST", "/services", "json", "{'host':'h'}", 400, NO_JSON),
    ("POST", "/services", "json", '{"host":"h",}', 400, NO_JSON),
    ("POST", "/services", "json", '{"host":NaN}', 400, NO_JSON),
    ("POST", "/services", "json", b'{"host":"\xff"}', 400, NO_JSON),
    ("POST", "/services", "json", b'{"host":"h","\xc3\x28":1}', 400, NO_JSON),
    ("POST", "/services", "json", b'{"host":"h\x00"}', 400, NO_JSON),
    ("POST", "/services", "json", b'{"host":"h"}\x00', 400, NO_JSON),
    ("POST", "/services", "json", "[" * 100000, 400, NO_JSON),
    ("POST", "/services", "json", '{"host":' * 100000 + "1" + "}" * 100000, 400, NO_JSON),
    ("POST", "/services", "json", '{"host":"h","host":1}', 400, violation(host="expected a string")),
    ("PUT", f"/services/{SERVICE}", "json", "host=h", 400, NO_JSON),
    ("PATCH", f"/services/{SERVICE}", "json", "[1]", 400, NO_JSON),
    ("POST", "/services", "form", b"host=%ff", 400, NO_FORM),
    ("POST", "/services", "form", b"\xff=h", 400, NO_FORM),
    ("POST", "/services", "multipart/form-data; boundary=b", b"--b\r\nbroken", 400, NO_FORM),
    ("POST", "/services", "multipart/form-data", b"host=h", 400, NO_FORM),
    ("POST", "/services", "form", "&".join(f"tags[]={i}" for i in range(1001)), 400, {"message": "Too many arguments"}),
    ("POST", "/services", "text/plain", "host=h", 415, NO_TYPE),
    ("POST", "/services", "application/jsonx", "{}", 415, NO_TYPE),
    ("PUT", f"/services/{SERVICE}", "application/xml", "<host>h</host>", 415, NO_TYPE),
    ("PATCH", f"/services/{SERVICE}", None, "host=h", 415, NO_TYPE),
    ("POST", "/services", "json", '{"host":"' + "h" * (10 << 20) + '"}', 413, {"message": "Payload too large"}),
    ("GET", "/services?" + "&".join(f"a{i}=1" for i in range(1001)), None, None, 400, {"message": "Too many arguments"}),
    ("GET", "/nowhere", None, None, 404, NOT_FOUND),
    ("POST", "/nowhere", "json", "{}", 404, NOT_FOUND),
    ("GET", "/services//", None, None, 404, NOT_FOUND),
    ("GET", "/services/%00", None, None, 400, {"message": "Bad request"}),
    ("GET", "/services/%ff", None, None, 404, NOT_FOUND),
    ("GET", "/nobody/services", None, None, 404, NOT_FOUND),
    ("POST", "/targets", "json", '{"target":"a"}', 404, NOT_FOUND),
    ("PUT", "/services", "json", '{"host":"h"}', 405, NO_METHOD),
    ("DELETE", "/services", None, None, 405, NO_METHOD),
    ("POST", f"/services/{SERVICE}", "json", "{}", 405, NO_METHOD),
    ("BREW", "/services", None, None, 405, NO_METHOD),
    ("TRACE", "/services", None, None, 405, NO_METHOD),
    ("POST", "/", "json", "{}", 405, NO_METHOD),
    ("GET", "/services?size=0", None, None, 400, SIZE),
    ("GET", "/certificates?size=-1", None, None, 400, SIZE),
    ("GET", "/routes?size=1001", None, None, 400, SIZE),
    ("GET", "/routes?size=1.5", None, None, 400, SIZE),
    ("GET", "/routes?size=ten", None, None, 400, dict(SIZE, message="size must be a number")),
    ("GET", f"/services/{SERVICE}/routes?size=0", None, None, 400, SIZE),
    ("GET", "/services?offset=%25", None, None, 400, no_offset("%", "base64")),
    ("GET", "/services?offset=eA", None, None, 400, no_offset("eA", "json")),
    ("GET", "/services?tags=", None, None, 400, no_option("cannot be null")),
    ("GET", "/services?tags=a,b/c", None, None, 400, no_option("invalid filter syntax")),
    ("GET", "/services?tags=a,b,c,d,e,f", None, None, 400, no_option("invalid filter syntax")),
    ("POST", "/tags", "json", "{}", 400, violation(tags="does not support insert/upsert/update/delete operations")),
    ("PUT", "/tags/t", "json", "{}", 400, violation(tags="does not support insert/upsert/update/delete operations")),
    ("GET", "/schemas/none", None, None, 404, {"message": "No entity named 'none'"}),
    ("GET", "/schemas/plugins/none", None, None, 404, {"message": "No plugin named 'none'"}),
    ("GET", "/schemas/vaults/none", None, None, 404, {"message": "No vault named 'none'"}),
    ("POST", "/schemas/services/validate", "json", "{}", 400, violation(host="required field missing")),
    ("POST", "/config", "json", "{}", 400, {"message": "this endpoint is only available when Kong is configured to not use a database"}),
    ("PUT", "/debug/node/log-level/loud", None, None, 400, {"message": "unknown log level: loud"}),
    ("PUT", "/debug/node/log-level/debug?timeout=-1", None, None, 400, {"message": "timeout must be greater than or equal to 0"}),
    ("GET", "/status?unit=x", None, None, 400, {"message": "invalid unit 'x' (expected 'k/K', 'm/M', or 'g/G')"}),
    ("GET", "/status?scale=-1", None, None, 400, {"message": "scale must be equal or greater than 0"}),
    ("GET", "/cache/none", None, None, 404, NOT_FOUND),
]

# method, path, body (JSON), status, answer
ROWS = [
    # services
    ("POST", "/services", {}, 400, violation(host="required field missing")),
    ("POST", "/services", {"host": 1}, 400, violation(host="expected a string")),
    ("POST", "/services", {"host": None}, 400, violation(host="required field missing")),
    ("POST", "/services", {"host": "h h"}, 400, violation(host="invalid value: h h")),
    ("POST", "/services", {"host": "h:80"}, 400, violation(host="must not have a port")),
    ("POST", "/services", {"host": "h", "port": "80"}, 400, violation(port="expected an integer")),
    ("POST", "/services", {"host": "h", "port": 1.5}, 400, violation(port="expected an integer")),
    ("POST", "/services", {"host": "h", "port": 1e300}, 400, violation(port="value should be between 0 and 65535")),
    ("POST", "/services", {"host": "h", "port": 70000}, 400, violation(port="value should be between 0 and 65535")),
    ("POST", "/services", {"host": "h", "enabled": "yes"}, 400, violation(enabled="expected a boolean")),
    ("POST", "/services", {"host": "h", "tags": "t"}, 400, violation(tags="expected a set")),
    ("POST", "/services", {"host": "h", "tags": {"a": "t"}}, 400, violation(tags="expected a set")),
    ("POST", "/services", {"host": "h", "tags": ["a", "b,c"]}, 400, violations(
        "schema violation (tags.2: invalid tag 'b,c': expected printable ascii (except `,` and `/`) or valid utf-8 sequences)",
        tags=[None, "invalid tag 'b,c': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"])),
    ("POST", "/services", {"host": "h", "tags": [0] * 100000}, 400, violations("schema violation (tags.1: expected a string)",
                                                                              tags=["expected a string"])),
    ("POST", "/routes", {"paths": ["a"] * 20000}, 400, violations(
        "20000 schema violations (" + "; ".join(f"paths.{n}: should start with: / (fixed path) or ~/ (regex path)" for n in range(1, 20001)) +
        ")", paths=["should start with: / (fixed path) or ~/ (regex path)"] * 20000)),
    ("POST", "/services", {"host": "h", "protocol": "gopher"}, 400,
     violation(protocol="expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp")),
    ("POST", "/services", {"host": "h", "path": "x"}, 400, violation(path="should start with: /")),
    ("POST", "/services", {"url": "tcp://h:1/x"}, 400, entity("failed conditional validation given value of field 'protocol'",
                                                             path="value must be null")),
    ("POST", "/services", {"host": "h", "name": ""}, 400, violation(name="length must be at least 1")),
    ("POST", "/services", {"host": "h", "name": "a b"}, 400,
     violation(name="invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~")),
    ("POST", "/services", {"host": "h", "retries": -1, "connect_timeout": 0}, 400, violations(
        "2 schema violations (connect_timeout: value should be between 1 and 2147483646; retries: value should be between 0 and 32767)",
        connect_timeout="value should be between 1 and 2147483646", retries="value should be between 0 and 32767")),
    ("POST", "/services", {"host": "h", "bogus": 1}, 400, violation(bogus="unknown field")),
    ("POST", "/services", {"host": "h", "id": "no-uuid"}, 400, violation(id="expected a valid UUID")),
    ("POST", "/services", {"host": "h", "id": SERVICE}, 400, existing(SERVICE)),
    ("POST", "/services", {"host": "h", "name": "s"}, 409, taken(name="s")),
    ("POST", "/services", {"host": "h", "protocol": "https", "client_certificate": {"id": NONE}}, 400,
     missing("client_certificate", "certificates")),
    ("PUT", "/services/new", {"host": "h h"}, 400, violation(host="invalid value: h h")),
    ("PUT", f"/services/{NONE}", {"host": "h", "name": "s"}, 409, taken(name="s")),
    ("PATCH", "/services/none", {"host": "h"}, 404, NOT_FOUND),
    ("PATCH", "/services/s", {"host": None}, 400, violation(host="required field missing")),
    ("DELETE", "/services/s", None, 400, referenced("routes", "services")),
    # routes
    ("POST", "/routes", {}, 400, entity("must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'")),
    ("POST", "/routes", {"paths": ["/"], "service": {"id": NONE}}, 400, missing("service", "services")),
    ("POST", "/routes", {"paths": ["/"], "service": {"name": "none"}}, 400, unresolved("service", "services", "none")),
    ("POST", "/routes", {"paths": ["a"]}, 400, violations(
        "schema violation (paths.1: should start with: / (fixed path) or ~/ (regex path))",
        paths=["should start with: / (fixed path) or ~/ (regex path)"])),
    ("POST", "/routes", {"paths": ["/a/../b"]}, 400, violations("schema violation (paths.1: non-normalized path, consider use '/b' instead)",
                                                             paths=["non-normalized path, consider use '/b' instead"])),
    ("POST", "/routes", {"hosts": ["a.*.b"]}, 400, violations(
        "schema violation (hosts.1: invalid wildcard: must be placed at leftmost or rightmost label)",
        hosts=["invalid wildcard: must be placed at leftmost or rightmost label"])),
    ("POST", "/routes", {"paths": ["/"], "headers": {"host": ["x"]}}, 400,
     violation(headers="cannot contain 'host' header, which must be specified in the 'hosts' attribute")),
    ("POST", "/routes", {"paths": ["/"], "https_redirect_status_code": 303}, 400,
     violation(https_redirect_status_code="expected one of: 426, 301, 302, 307, 308")),
    ("POST", "/routes", {"paths": ["/"], "protocols": ["http"], "snis": ["a.test"]}, 400, entity(
        "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'", snis="length must be 0")),
    ("POST", "/routes", {"name": "r", "paths": ["/"]}, 409, taken(name="r")),
    ("POST", "/services/none/routes", {"paths": ["/"]}, 404, NOT_FOUND),
    ("DELETE", "/routes/r/service", None, 405, NO_METHOD),
    ("GET", "/services/s/routes/none", None, 404, NOT_FOUND),
    # consumers
    ("POST", "/consumers", {}, 400, entity("at least one of these fields must be non-empty: 'custom_id', 'username'")),
    ("POST", "/consumers", {"username": "c"}, 409, taken(username="c")),
    ("POST", "/consumers", {"username": "d", "custom_id": "c1"}, 409, taken(custom_id="c1")),
    ("GET", "/consumers?custom_id=", None, 400, {"message": "custom_id must be an unempty string"}),
    # plugins
    ("POST", "/plugins", {}, 400, violation(name="required field missing")),
    ("POST", "/plugins", {"name": "none"}, 400,
     violation(name="plugin 'none' not enabled; add it to the 'plugins' configuration property")),
    ("POST", "/plugins", {"name": "request-termination", "config": {"bogus": 1}}, 400, violations(
        "schema violation (config.bogus: unknown field)", config={"bogus": "unknown field"})),
    ("POST", "/plugins", {"name": "request-termination", "config": {"status_code": 99}}, 400, violations(
        "schema violation (config.status_code: value should be between 100 and 599)",
        config={"status_code": "value should be between 100 and 599"})),
    ("POST", "/plugins", {"name": "request-termination", "config": 7}, 400, violation(config="expected a record")),
    ("POST", "/plugins", {"name": "request-termination", "config": {"message": "m", "body": "b"}}, 400,
     violation(config="message cannot be used with content_type or body")),
    ("POST", "/plugins", {"name": "request-termination", "route": {"id": NONE}}, 400, missing("route", "routes")),
    ("POST", "/plugins", {"name": "request-termination", "protocols": ["tcp"]}, 400, violations(
        "schema violation (protocols.1: expected one of: grpc, grpcs, http, https)", protocols=["expected one of: grpc, grpcs, http, https"])),
    ("POST", "/plugins", {"name": "request-termination", "instance_name": "p", "consumer": {"id": CONSUMER}}, 409,
     taken(instance_name="p")),
    ("POST", "/routes/none/plugins", {"name": "request-termination"}, 404, NOT_FOUND),
    # upstreams and targets
    ("POST", "/upstreams", {}, 400, violation(name="required field missing")),
    ("POST", "/upstreams", {"name": "127.0.0.1"}, 400, violation(name="Invalid name ('127.0.0.1'); no ip addresses allowed")),
    ("POST", "/upstreams", {"name": "u:80"}, 400, violation(name="Invalid name ('u:80'); no port allowed")),
    ("POST", "/upstreams", {"name": "v", "slots": 5}, 400, violation(slots="value should be between 10 and 65536")),
    ("POST", "/upstreams", {"name": "v", "algorithm": "dice"}, 400,
     violation(algorithm="expected one of: consistent-hashing, least-connections, round-robin, latency")),
    ("POST", "/upstreams", {"name": "v", "healthchecks": {"threshold": 101}}, 400, violations(
        "schema violation (healthchecks.threshold: value should be between 0 and 100)",
        healthchecks={"threshold": "value should be between 0 and 100"})),
    ("POST", "/upstreams", {"name": "u"}, 409, taken(name="u")),
    ("POST", "/upstreams/u/targets", {}, 400, violation(target="required field missing")),
    ("POST", "/upstreams/u/targets", {"target": "a b"}, 400,
     violation(target="Invalid target ('a b'); not a valid hostname or ip address")),
    ("POST", "/upstreams/u/targets", {"target": "a", "weight": 65536}, 400, violation(weight="value should be between 0 and 65535")),
    ("POST", "/upstreams/none/targets", {"target": "a"}, 404, NOT_FOUND),
    ("PATCH", "/upstreams/u/targets/none:1", {"weight": 1}, 404, NOT_FOUND),
    ("PUT", "/upstreams/u/targets/none:1/healthy", None, 404, NOT_FOUND),
    # certificates, their names, authorities
    ("POST", "/certificates", {}, 400, violations("2 schema violations (cert: required field missing; key: required field missing)",
                                                 cert="required field missing", key="required field missing")),
    ("POST", "/certificates", {"cert": "@cert", "key": "@other"}, 400, entity("certificate does not match key")),
    ("POST", "/certificates", {"cert": "@cert", "key": "@key", "key_alt": "@key"}, 400,
     entity("all or none of these fields must be set: 'cert_alt', 'key_alt'")),
    ("POST", "/certificates", {"cert": "@cert", "key": "@key", "snis": ["a.test"]}, 400,
     violation(snis=f"a.test already associated with existing certificate '{CERTIFICATE}'")),
    ("POST", "/certificates", {"cert": "@cert", "key": "@key", "snis": ["b.test", "b.test"]}, 400, violation(snis="b.test is duplicated")),
    ("GET", "/certificates/none.test", None, 404, {"message": "SNI not found"}),
    ("POST", "/snis", {"name": "b.test"}, 400, violation(certificate="required field missing")),
    ("POST", "/snis", {"name": "b.test", "certificate": {"id": NONE}}, 400, missing("certificate", "certificates")),
    ("POST", "/snis", {"name": "a.test", "certificate": {"id": CERTIFICATE}}, 409, taken(name="a.test")),
    ("POST", "/snis", {"name": "127.0.0.1", "certificate": {"id": CERTIFICATE}}, 400, violation(name="must not be an IP")),
    ("POST", "/snis", {"name": "a.*.test", "certificate": {"id": CERTIFICATE}}, 400,
     violation(name="wildcard must be leftmost or rightmost character")),
    ("POST", "/ca_certificates", {}, 400, violation(cert="required field missing")),
    ("GET", "/ca_certificates/none", None, 400, bad_key("none")),
    ("PUT", "/ca_certificates/none", {"cert": "@cert"}, 400, bad_key("none")),
    ("DELETE", f"/ca_certificates/{AUTHORITY}", None, 400, {
        "code": 19, "name": "referenced by others",
        "message": f"ca certificate {AUTHORITY} is still referenced by services (id = {made(20)})"}),
    # keys and their sets
    ("POST", "/keys", {"kid": "2"}, 400, entity("at least one of these fields must be non-empty: 'jwk', 'pem'")),
    ("POST", "/keys", {"kid": "2", "jwk": "{"}, 400, entity("could not json decode jwk string")),
    ("POST", "/keys", {"kid": "2", "jwk": '{"kid":"1"}'}, 400, entity("kid in jwk.kid must be equal to keys.kid")),
    ("POST", "/keys", {"jwk": '{"kid":"1"}'}, 400, violation(kid="required field missing")),
    ("POST", "/keys", {"kid": "2", "name": "k", "pem": {"public_key": "@public"}}, 409, taken(name="k")),
    ("POST", "/keys", {"kid": "2", "pem": {"public_key": "@public"}, "set": {"id": NONE}}, 400, missing("set", "key_sets")),
    ("POST", "/key-sets", {"name": "ks"}, 409, taken(name="ks")),
    ("POST", "/key-sets/none/keys", {"kid": "2", "pem": {"public_key": "@public"}}, 404, NOT_FOUND),
    # vaults
    ("POST", "/vaults", {"name": "none", "prefix": "v-2"}, 400, violation(name="vault 'none' is not installed")),
    ("POST", "/vaults", {"name": "env", "prefix": "env"}, 400, violation(prefix="must not be one of: env")),
    ("POST", "/vaults", {"name": "env", "prefix": "V!"}, 400, violation(prefix="invalid value: V!")),
    ("POST", "/vaults", {"name": "env", "prefix": "my-env"}, 409, taken(prefix="my-env")),
    # consumer groups
    ("POST", "/consumer_groups", {}, 400, violation(name="required field missing")),
    ("POST", "/consumer_groups", {"name": "g"}, 409, taken(name="g")),
    ("POST", "/consumer_groups/g/consumers", {}, 400, violation(consumer="required field missing")),
    ("POST", "/consumer_groups/g/consumers", {"consumer": "none"}, 404, NOT_FOUND),
    ("DELETE", "/consumer_groups/g/consumers/none", None, 404, NOT_FOUND),
    # workspaces
    ("POST", "/workspaces", {}, 400, violation(name="required field missing")),
    ("POST", "/workspaces", {"name": "team"}, 409, taken(name="team")),
    ("PATCH", "/workspaces/team", {"name": "crew"}, 400, violation(name="immutable field cannot be updated")),
    ("POST", "/team/routes", {"paths": ["/"], "service": {"id": SERVICE}}, 400,
     dict(missing("service", "services"), fields={"service": {"id": SERVICE}},
          message=f"the foreign key '{{id=\"{SERVICE}\"}}' does not reference an existing 'services' entity.")),
    ("POST", "/team/services", {"host": "h", "id": SERVICE}, 400, existing(SERVICE)),
    ("GET", f"/team/services/{SERVICE}", None, 404, NOT_FOUND),
]

# The same as a form says it: types come from the schema.
FORMS = [
    ("POST", "/services", "host=h&port=eighty", 400, violation(port="expected an integer")),
    ("POST", "/services", "host=h&enabled=maybe", 400, violation(enabled="expected a boolean")),
    ("POST", "/routes", "paths[]=a", 400, violations("schema violation (paths.1: should start with: / (fixed path) or ~/ (regex path))",
                                                    paths=["should start with: / (fixed path) or ~/ (regex path)"])),
    ("POST", "/plugins", "name=request-termination&config.status_code=many", 400, violations(
        "schema violation (config.status_code: expected an integer)", config={"status_code": "expected an integer"})),
    ("POST", "/services", "host=h&name=s", 409, taken(name="s")),
]


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder, other = tmp_path_factory.mktemp("pem"), tmp_path_factory.mktemp("other")
    files = make_pem(folder)
    public = subprocess.run(["openssl", "pkey", "-in", folder / "key", "-pubout"], check=True, capture_output=True, text=True)
    return {"@cert": files["cert"], "@key": files["key"], "@other": make_pem(other)["key"], "@public": public.stdout}


def filled(body, pem):
    """The body with what its "@" words stand for."""
    if isinstance(body, dict):
        return {name: filled(value, pem) for name, value in body.items()}
    return pem.get(body, body) if isinstance(body, str) else body


def fill(gw, pem):
    """The rows that exist."""
    rows = [
        ("/workspaces", {"name": "team"}),
        ("/services", {"id": SERVICE, "name": "s", "host": "h"}),
        ("/routes", {"id": ROUTE, "name": "r", "paths": ["/r"], "service": {"id": SERVICE}}),
        ("/consumers", {"id": CONSUMER, "username": "c", "custom_id": "c1", "tags": ["t"]}),
        ("/plugins", {"id": PLUGIN, "name": "request-termination", "instance_name": "p", "service": {"id": SERVICE}}),
        ("/upstreams", {"id": UPSTREAM, "name": "u"}),
        ("/upstreams/u/targets", {"id": TARGET, "target": "127.0.0.1:80"}),
        ("/certificates", {"id": CERTIFICATE, "cert": "@cert", "key": "@key"}),
        ("/snis", {"id": SNI, "name": "a.test", "certificate": {"id": CERTIFICATE}}),
        ("/ca_certificates", {"id": AUTHORITY, "cert": "@cert"}),
        ("/services", {"id": made(20), "host": "h", "protocol": "https", "ca_certificates": [AUTHORITY]}),
        ("/key-sets", {"id": SET, "name": "ks"}),
        ("/keys", {"id": KEY, "name": "k", "kid": "1", "set": {"id": SET}, "pem": {"public_key": "@public"}}),
        ("/vaults", {"id": VAULT, "name": "env", "prefix": "my-env"}),
        ("/consumer_groups", {"id": GROUP, "name": "g"}),
    ]
    for path, body in rows:
        r = gw.admin.post(path, json=filled(body, pem))
        assert r.status_code == 201, (path, r.text)


def dump(gw):
    """All rows of the record, byte for byte, and what the Admin API shows of them."""
    record = next((gw.prefix / "store").glob("*.db"))
    with sqlite3.connect(f"file:{record}?mode=ro", uri=True) as db:
        tables = sorted(name for name, in db.execute("SELECT name FROM sqlite_master WHERE type='table'"))
        stored = {name: db.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
    paths = ("workspaces", "services", "routes", "consumers", "plugins", "upstreams", "upstreams/u/targets", "certificates", "snis",
             "ca_certificates", "key-sets", "keys", "vaults", "consumer_groups", "tags", "team/services", "team/routes")
    return stored, {path: pages(gw, f"/{path}?size=1000") for path in paths}


def difference(gw, method, path, kind, body, status, answer):
    """What is not as it should be, as text; None when all is."""
    r = gw.admin.request(method, path, data=body, headers={"Content-Type": TYPES.get(kind, kind)} if kind else {})
    headers = {"Content-Type": "application/json; charset=utf-8", "Server": "kong/3.9.1", "Access-Control-Allow-Origin": "*"}
    wrong = [f"{r.status_code} {r.text[:600]}"] if (r.status_code, r.json()) != (status, answer) else []
    wrong += [f"{name}: {r.headers.get(name)}" for name, value in headers.items() if r.headers.get(name) != value]
    return f"{method} {path[:80]} {str(body)[:200]}\n  -> {wrong}\n  not {status} {str(answer)[:600]}" if wrong else None


def test_wrong_requests(gateway, pem):
    gw = gateway()
    fill(gw, pem)
    requests = list(MALFORMED)
    for method, path, body, status, answer in ROWS:
        text = json.dumps(filled(body, pem)) if body is not None else None
        requests.append((method, path, "json" if text else None, text, status, answer))
    requests += [(method, path, "form", body, status, answer) for method, path, body, status, answer in FORMS]
    assert len(requests) > 150
    workers, before = gw.workers("control"), dump(gw)
    problems = [d for d in (difference(gw, *request) for request in requests) if d]
    assert not problems, f"{len(problems)} of {len(requests)}:\n" + "\n".join(problems)
    assert dump(gw) == before
    assert gw.workers("control") == workers
