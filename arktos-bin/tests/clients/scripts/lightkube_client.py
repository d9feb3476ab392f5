"""lightkube against a tenant: typed and generic resources, chunks, watches through a restart, patches, server-side apply."""

import threading

import httpx2
import lightkube
from lightkube import Client
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta, Status
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod, Secret
from lightkube.types import CascadeType, PatchType
from lightkube import codecs

from steps import restart_server, run, step, until

SPACE = "lightkube"
client = Client(namespace=SPACE, field_manager="lightkube")
Gadget = create_namespaced_resource("example.org", "v1", "Gadget", "gadgets")


def refused(code, reason, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except ApiError as error:
        assert (error.status.code, error.status.reason) == (code, reason), error.status
        return error.status
    raise AssertionError("it was not refused")


def config_map(name, labels=None, **data):
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=SPACE, labels=labels), data=data)


@step
def objects_are_made_read_changed_and_deleted():
    client.create(Namespace(metadata=ObjectMeta(name=SPACE)))
    made = client.create(config_map("a", colour="green"))
    made.data["size"] = "1"
    assert client.replace(made).data == {"colour": "green", "size": "1"}
    refused(409, "Conflict", client.replace, made)
    refused(409, "AlreadyExists", client.create, config_map("a"))
    assert client.get(ConfigMap, "a").data["size"] == "1"
    client.delete(ConfigMap, "a")
    refused(404, "NotFound", client.get, ConfigMap, "a")
    assert refused(422, "Invalid", client.create, config_map("Not a name")).details.causes[0].field == "metadata.name"
    refused(403, "Forbidden", lambda: list(client.list(Node)))
    client.create(config_map("dry"), dry_run=True)
    refused(404, "NotFound", client.get, ConfigMap, "dry")


@step
def lists_come_in_chunks():
    for number in range(25):
        client.create(config_map(f"chunk-{number:02}", {"chunked": str(number % 2)}))
    chunked = client.list(ConfigMap, chunk_size=4, labels={"chunked": ["0", "1"]})
    names = [it.metadata.name for it in chunked]
    assert names == [f"chunk-{number:02}" for number in range(25)], names
    assert len(list(client.list(ConfigMap, labels={"chunked": lightkube.operators.exists()}))) == 25
    odd = client.list(ConfigMap, labels={"chunked": lightkube.operators.not_in(["0"])}, fields={"metadata.name": "chunk-01"})
    assert len(list(odd)) == 1
    for number in range(3):
        client.create(Secret(metadata=ObjectMeta(name=f"s-{number}", namespace=SPACE)))
    client.deletecollection(Secret)
    assert list(client.list(Secret)) == []
    everywhere = client.list(ConfigMap, namespace="*", fields={"metadata.name": "chunk-00"})
    assert [it.metadata.namespace for it in everywhere] == [SPACE]


@step
def every_type_of_patch():
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "web"}),
        spec=PodSpec(containers=[Container(name="main", image="web:1"), Container(name="side", image="side:1")]),
    )
    spec = DeploymentSpec(replicas=0, selector=LabelSelector(matchLabels={"app": "web"}), template=template)
    client.create(Deployment(metadata=ObjectMeta(name="web", namespace=SPACE), spec=spec))
    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:2"}]}}}}
    images = lambda it: {container.name: container.image for container in it.spec.template.spec.containers}
    assert images(client.patch(Deployment, "web", side)) == {"main": "web:1", "side": "side:2"}
    replicas = [{"op": "replace", "path": "/spec/replicas", "value": 2}]
    assert client.patch(Deployment, "web", replicas, patch_type=PatchType.JSON).spec.replicas == 2
    assert images(client.patch(Deployment, "web", side, patch_type=PatchType.MERGE)) == {"side": "side:2"}
    client.wait(Deployment, "web", for_conditions=["Available"])
    scale = Deployment.Scale(metadata=ObjectMeta(name="web", namespace=SPACE), spec=ScaleSpec(replicas=1))
    assert client.replace(scale).spec.replicas == 1
    pods = lambda: [it for it in client.list(Pod, labels={"app": "web"}) if not it.metadata.deletionTimestamp]
    until(lambda: len(pods()) == 1, "one pod")
    client.delete(Deployment, "web", cascade=CascadeType.FOREGROUND)
    until(lambda: not pods() and not list(client.list(ReplicaSet)) and not list(client.list(Deployment)))


@step
def applies_own_fields():
    applied = client.apply(config_map("applied", a="1", b="1"), field_manager="one")
    assert applied.data == {"a": "1", "b": "1"}
    conflict = refused(409, "Conflict", client.apply, config_map("applied", b="2"), field_manager="two")
    assert conflict.details.causes[0].reason == "FieldManagerConflict" and conflict.details.causes[0].field == ".data.b"
    assert client.apply(config_map("applied", b="2"), field_manager="two", force=True).data == {"a": "1", "b": "2"}
    assert client.apply(config_map("applied"), field_manager="one").data == {"b": "2"}
    fields = {it.manager: it.fieldsV1 for it in client.get(ConfigMap, "applied").metadata.managedFields}
    assert fields == {"one": {"f:data": {}}, "two": {"f:data": {"f:b": {}}}}, fields


@step
def definitions_and_generic_objects():
    [definition] = codecs.load_all_yaml(
        """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {replicas: {type: integer, default: 1}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
    )
    client.create(definition)
    client.wait(CustomResourceDefinition, "gadgets.example.org", for_conditions=["Established"])
    made = client.create(Gadget(metadata={"name": "g", "namespace": SPACE}, spec={}))
    assert made.spec["replicas"] == 1
    assert client.get(Gadget.Scale, "g").spec.replicas == 1
    made["status"] = {"replicas": 1}
    changed = client.replace(Gadget.Status(made))
    assert changed.status == {"replicas": 1}
    assert client.apply(Gadget(metadata={"name": "g", "namespace": SPACE}, spec={"replicas": 3}), force=True).spec["replicas"] == 3
    load_in_cluster_generic_resources(client)
    assert [it.metadata.name for it in client.list(Gadget)] == ["g"]


@step
def a_watch_goes_on_through_the_servers_restart():
    seen = []
    version = until(lambda: client.get(Namespace, SPACE).metadata.resourceVersion)

    def again(error, count):
        return lightkube.types.OnErrorResult(lightkube.types.OnErrorAction.RETRY, sleep=0.1)

    def follow():
        place = version
        while True:
            try:
                for kind, it in client.watch(Secret, labels={"followed": ""}, resource_version=place, on_error=again):
                    place = it.metadata.resourceVersion
                    seen.append((kind, it.metadata.name))
            except httpx2.TransportError:
                pass  # nobody listens: it does not take this as an error of the watch

    threading.Thread(target=follow, daemon=True).start()
    secret = lambda name: Secret(metadata=ObjectMeta(name=name, namespace=SPACE, labels={"followed": ""}))
    client.create(secret("s-0"))
    until(lambda: ("ADDED", "s-0") in seen, "the first event")
    restart_server()
    until(lambda: retry(lambda: client.create(secret("s-1"))), "a write after the restart")
    until(lambda: ("ADDED", "s-1") in seen, f"the event after the restart: {seen}")
    assert seen == [("ADDED", "s-0"), ("ADDED", "s-1")], seen


def retry(call):
    try:
        return call()
    except httpx2.TransportError:
        return None


@step
def a_namespace_goes_with_all_it_has():
    client.delete(Namespace, SPACE)
    until(lambda: SPACE not in {it.metadata.name for it in client.list(Namespace)}, "the namespace's end")
    client.delete(CustomResourceDefinition, "gadgets.example.org")


run()
