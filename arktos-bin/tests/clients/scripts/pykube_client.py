"""pykube-ng against a tenant: objects, queries, patches, scale, roll-outs, watches, kinds that it makes of discovery."""

import threading

import pykube
import requests
from pykube import ConfigMap, CustomResourceDefinition, Deployment, Namespace, Node, Pod, ReplicaSet, Secret
from pykube.exceptions import HTTPError, ObjectDoesNotExist
from pykube.objects import object_factory

from steps import restart_server, run, step, until

SPACE = "pykube"
api = pykube.HTTPClient(pykube.KubeConfig.from_env())


def refused(code, call):
    try:
        call()
    except (HTTPError, requests.HTTPError) as error:
        found = getattr(error, "code", None) or error.response.status_code
        assert found == code, error
        return
    raise AssertionError("it was not refused")


def config_map(name, labels=None, **data):
    metadata = {"name": name, "namespace": SPACE, "labels": labels or {}}
    return ConfigMap(api, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


@step
def objects_are_made_read_changed_and_deleted():
    assert api.version == ("1", "36"), api.version
    Namespace(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}).create()
    made = config_map("a", colour="green")
    assert not made.exists()
    made.create()
    made.obj["data"]["size"] = "1"
    made.update()
    assert ConfigMap.objects(api).filter(namespace=SPACE).get_by_name("a").obj["data"] == {"colour": "green", "size": "1"}
    made.patch({"data": {"colour": None}})
    assert made.obj["data"] == {"size": "1"}
    made.labels["l"] = "1"
    made.update(is_strategic=False)
    made.reload()
    assert made.labels == {"l": "1"}
    refused(409, config_map("a").create)
    refused(422, config_map("Not a name").create)
    refused(403, lambda: list(Node.objects(api)))
    made.delete()
    try:
        ConfigMap.objects(api).filter(namespace=SPACE).get(name="a")
        raise AssertionError("it is still there")
    except ObjectDoesNotExist:
        pass


@step
def queries_and_tables():
    for number in range(12):
        config_map(f"m-{number:02}", {"odd": str(number % 2)}).create()
    query = ConfigMap.objects(api).filter(namespace=SPACE)
    assert sorted(it.name for it in query.filter(selector={"odd": "1"})) == [f"m-{number:02}" for number in range(1, 12, 2)]
    assert len(query.filter(selector={"odd__in": {"0", "1"}}, field_selector={"metadata.name": "m-03"})) == 1
    table = query.filter(selector="odd").as_table()
    assert [it["name"] for it in table.columns][:2] == ["Name", "Data"] and len(table.rows) == 12
    assert len(ConfigMap.objects(api).filter(namespace=pykube.all, selector="odd")) == 12


@step
def workloads_are_scaled_and_rolled_out():
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    web = Deployment(api, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": SPACE}, "spec": spec})
    web.create()

    def ready(it=web):
        it.reload()
        # Its own `ready` takes for granted that what is zero is written.
        status, wanted = it.obj["status"], it.replicas
        seen = status.get("observedGeneration", 0) >= it.metadata["generation"]
        return seen and status.get("updatedReplicas") == status.get("replicas") == status.get("readyReplicas") == wanted

    until(ready, "the deployment")
    web.scale(2)
    until(ready, "the scaled deployment")
    web.obj["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    web.update()
    until(ready, "the new deployment")
    sets = lambda: list(ReplicaSet.objects(api).filter(namespace=SPACE, selector={"app": "web"}))
    until(lambda: len(sets()) == 2, "the second replica set")
    pods = lambda: [it for it in Pod.objects(api).filter(namespace=SPACE, selector={"app": "web"})]
    until(lambda: [it.ready for it in pods()].count(True) >= 2, "the pods")
    web.delete(propagation_policy="Foreground")
    until(lambda: not pods() and not sets(), "the end of pods and replica sets")


@step
def definitions_and_kinds_of_discovery():
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}}}}
    schema["properties"]["status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "cranks", "singular": "crank", "kind": "Crank"}
    spec = {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": "cranks.example.org"}
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec}
    CustomResourceDefinition(api, definition).create()
    Crank = until(lambda: found("Crank"), "the kind in discovery")
    crank = Crank(api, {"apiVersion": "example.org/v1", "kind": "Crank", "metadata": {"name": "c", "namespace": SPACE}, "spec": {}})
    crank.create()
    assert crank.obj["spec"] == {"size": 1}
    crank.obj["status"] = {"ok": True}
    crank.update(is_strategic=False, subresource="status")
    crank.reload()
    assert crank.obj["status"] == {"ok": True}


def found(kind):
    try:
        return object_factory(api, "example.org/v1", kind)
    except (ValueError, HTTPError, requests.HTTPError):
        return None


@step
def a_watch_goes_on_through_the_servers_restart():
    seen = []

    def follow():
        while True:
            try:
                for event in Secret.objects(api).filter(namespace=SPACE, selector="followed").watch():
                    seen.append((event.type, event.object.name))
            except requests.RequestException:
                pass  # nobody listens

    threading.Thread(target=follow, daemon=True).start()
    metadata = lambda name: {"name": name, "namespace": SPACE, "labels": {"followed": ""}}
    secret = lambda name: Secret(api, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(name)})
    secret("s-0").create()
    until(lambda: ("ADDED", "s-0") in seen, "the first event")
    restart_server()
    until(lambda: retry(secret("s-1").create), "a write after the restart")
    until(lambda: ("ADDED", "s-1") in seen, f"the event after the restart: {seen}")


def retry(call):
    try:
        call()
        return True
    except HTTPError as error:
        return error.code == 409
    except requests.RequestException:
        return False


@step
def a_namespace_goes_with_all_it_has():
    Namespace.objects(api).get_by_name(SPACE).delete()
    until(lambda: SPACE not in {it.name for it in Namespace.objects(api)}, "the namespace's end")
    CustomResourceDefinition.objects(api).get_by_name("cranks.example.org").delete()


run()
