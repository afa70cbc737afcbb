#!/usr/bin/python3
"""Checks packaging/kubernetes and packaging/helm: `make test-kubernetes`, or `tests/packaging/kubernetes.py [SWAGGER HELM]`.

SWAGGER is Kubernetes' own description of its API, api/openapi-spec/swagger.json of its source. Every manifest must fit it strictly: no field that
it does not know. HELM is the program, which renders the chart with several sets of values, good and bad. Without arguments both are fetched, in
the versions below, as Go modules, which needs Go 1.21 or later (it gets itself the version that Helm wants) and keeps them in Go's own cache. What
the schema cannot say is looked at here: mounts have volumes, probes and services name ports that exist, the plugin's code is that of
examples/my-plugin.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jsonschema
import yaml

KUBERNETES = "k8s.io/kubernetes@v1.34.2"
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "packaging" / "helm" / "silverback"
PLUGIN = "plugins.configMaps[0].name=kong-plugin-my-plugin,plugins.configMaps[0].pluginName=my-plugin"
# values -> what the node's environment must hold
GOOD = {
    "": {"KONG_STATUS_LISTEN": "0.0.0.0:8100"},
    PLUGIN: {"KONG_PLUGINS": "bundled,my-plugin", "KONG_LUA_PACKAGE_PATH": "/opt/?.lua;/opt/?/init.lua;;"},
    PLUGIN + ",plugins.configMaps[0].subdirectories[0].name=m,plugins.configMaps[0].subdirectories[0].path=migrations,"
    "plugins.secrets[0].name=sec,plugins.secrets[0].pluginName=other,env.plugins=key-auth": {"KONG_PLUGINS": "key-auth,my-plugin,other"},
    "env.nginx_worker_processes=2,env.LOG_LEVEL=debug,env.proxy_access_log=off": {"KONG_NGINX_WORKER_PROCESSES": "2", "KONG_LOG_LEVEL": "debug",
                                                                                   "KONG_PROXY_ACCESS_LOG": "off"},
    "env.pg_password.valueFrom.secretKeyRef.name=s,env.pg_password.valueFrom.secretKeyRef.key=k": {
        "KONG_PG_PASSWORD": {"secretKeyRef": {"name": "s", "key": "k"}}},
    "admin.enabled=true,admin.type=NodePort,proxy.type=LoadBalancer,proxy.tls.enabled=false": {"KONG_ADMIN_LISTEN": "0.0.0.0:8001"},
    "persistence.enabled=false,image.pullSecrets[0]=reg,podAnnotations.a=b,nodeSelector.x=y,resources.limits.memory=1Gi,status.port=9000": {
        "KONG_STATUS_LISTEN": "0.0.0.0:9000"},
    "persistence.existingClaim=mine,persistence.storageClass=fast,replicaCount=0,podLabels.team=a": {},
    "replicaCount=3,env.database=postgres,persistence.enabled=false": {"KONG_DATABASE": "postgres"},
}
# values -> a word of the complaint
BAD = {
    "replicaCount=2": "one writer",
    "image.tga=x": "tga",
    "proxy.http.port=99999": "port",
    "plugins.configMaps[0].name=a": "pluginName",
    "plugins.configMaps[0].name=a,plugins.configMaps[0].pluginName=Bad_Name": "pluginName",
    PLUGIN + ",plugins.secrets[0].name=a,plugins.secrets[0].pluginName=my-plugin": "once",
}


class Validator:
    def __init__(self, swagger):
        self.definitions = json.loads(pathlib.Path(swagger).read_text())["definitions"]
        self.kinds = {}
        for name, schema in self.definitions.items():
            if schema.get("properties") and "additionalProperties" not in schema:
                schema["additionalProperties"] = False
            for kind in schema.get("x-kubernetes-group-version-kind", []):
                self.kinds[f"{kind['group']}/{kind['version']}".lstrip("/"), kind["kind"]] = name
        # What the description calls strings of their own kind may also be numbers.
        self.definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = {"type": ["string", "integer"]}
        self.definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}

    def check(self, document, where):
        name = self.kinds.get((document["apiVersion"], document["kind"]))
        assert name, f"{where}: no such kind: {document['apiVersion']} {document['kind']}"
        schema = {"$ref": f"#/definitions/{name}", "definitions": self.definitions}
        for error in jsonschema.Draft4Validator(schema).iter_errors(document):
            raise AssertionError(f"{where}: {document['kind']}.{'.'.join(map(str, error.absolute_path))}: {error.message}")


def by_kind(documents, kind):
    return [d for d in documents if d["kind"] == kind]


def check_pod(documents, where):
    """Returns the environment of the one Deployment's one container."""
    (deployment,) = by_kind(documents, "Deployment")
    template = deployment["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    volumes = [v["name"] for v in pod["volumes"]]
    mounts = [m["name"] for m in container["volumeMounts"]]
    assert sorted(volumes) == sorted(set(mounts)) == sorted(mounts), f"{where}: volumes {volumes}, mounts {mounts}"
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports, f"{where}: {probe}"
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items(), f"{where}: selector"
    for service in by_kind(documents, "Service"):
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items(), f"{where}: selector of {service['metadata']['name']}"
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports, f"{where}: {service['metadata']['name']} leads to no port"
    claims = [d["metadata"]["name"] for d in by_kind(documents, "PersistentVolumeClaim")]
    used = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert not set(claims) - set(used), f"{where}: claims {claims}, used {used}"
    names = [e["name"] for e in container["env"]]
    assert len(names) == len(set(names)), f"{where}: {names}"
    env = {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}
    assert env["KONG_STATUS_LISTEN"] == f"0.0.0.0:{ports['status']}", where
    return env


def load(text):
    return [d for d in yaml.safe_load_all(text) if d]


def check_manifests(validator):
    documents = [d for f in sorted((ROOT / "packaging" / "kubernetes").glob("*.yaml")) for d in load(f.read_text())]
    for document in documents:
        validator.check(document, "packaging/kubernetes")
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "silverback"
    check_pod(documents, "packaging/kubernetes")
    (code,) = by_kind(documents, "ConfigMap")
    files = {p.name: p.read_text() for p in (ROOT / "examples/my-plugin/kong/plugins/my-plugin").iterdir()}
    assert code["data"] == files, "my-plugin.yaml is not examples/my-plugin"
    return len(documents)


def render(helm, values):
    # --set reads "false" as a word of YAML and "2" as a number, as a values file would.
    command = [helm, "template", "node", str(CHART), "--namespace", "space", *(["--set", values] if values else [])]
    return subprocess.run(command, capture_output=True, text=True)


def check_chart(validator, helm):
    subprocess.run([helm, "lint", "--quiet", "--strict", str(CHART)], check=True)
    for values, expected in GOOD.items():
        result = render(helm, values)
        assert result.returncode == 0, f"{values}: {result.stderr}"
        documents = load(result.stdout)
        for document in documents:
            validator.check(document, values or "no values")
        env = check_pod(documents, values)
        assert expected.items() <= env.items(), f"{values}: {env}"
    for values, word in BAD.items():
        result = render(helm, values)
        assert result.returncode != 0 and word in result.stderr, f"{values}: {result.stderr or 'accepted'}"
    return len(GOOD), len(BAD)


def fetch(folder):
    """(SWAGGER, HELM), with what is not in Go's cache put into `folder`."""
    run = {"cwd": folder, "env": dict(os.environ, GOBIN=folder, GOFLAGS="-mod=mod"), "check": True, "text": True}
    module = json.loads(subprocess.run(["go", "mod", "download", "-json", KUBERNETES], stdout=subprocess.PIPE, **run).stdout)
    subprocess.run(["go", "install", HELM], **run)
    return f"{module['Dir']}/api/openapi-spec/swagger.json", f"{folder}/helm"


def check(swagger, helm):
    validator = Validator(swagger)
    manifests = check_manifests(validator)
    good, bad = check_chart(validator, helm)
    print(f"kubernetes: {manifests} manifests fit; the chart renders with {good} sets of values and refuses {bad}")


def main():
    if len(sys.argv) == 3:
        check(*sys.argv[1:])
    elif len(sys.argv) == 1:
        with tempfile.TemporaryDirectory() as folder:
            check(*fetch(folder))
    else:
        sys.exit(__doc__)


main()
