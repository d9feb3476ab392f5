"""An operator of kopf's: it keeps a child for every object of a kind of its own, through a restart of the server."""

import asyncio
import threading

import kopf
from kubernetes import client, config

from steps import restart_server, run, step, until

config.load_kube_config()
core, custom = client.CoreV1Api(), client.CustomObjectsApi()
SPACE = "kopf"
GADGETS = ("kopf.example.org", "v1", SPACE, "gizmos")
events, stop, ready = [], threading.Event(), threading.Event()


@kopf.on.startup()
def settings(settings: kopf.OperatorSettings, **_):
    settings.persistence.finalizer = "kopf.example.org/finalizer"
    settings.networking.request_timeout = 10
    settings.watching.reconnect_backoff = 0.2
    settings.posting.enabled = True
    settings.peering.standalone = False
    settings.peering.name = "gizmos"
    settings.peering.mandatory = True


@kopf.on.create("kopf.example.org", "v1", "gizmos")
def created(name, spec, body, patch, **_):
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-child"}, "data": {"size": str(spec["size"])}}
    kopf.adopt(child)
    try:
        core.create_namespaced_config_map(SPACE, child)
    except client.rest.ApiException as error:
        assert error.status == 409, error  # it was made, and what is said of it here did not come through
    patch.status["ready"] = True
    kopf.info(body, reason="Made", message="a child was made")
    return {"child": child["metadata"]["name"]}


@kopf.on.update("kopf.example.org", "v1", "gizmos", field="spec.size")
def updated(name, new, **_):
    core.patch_namespaced_config_map(f"{name}-child", SPACE, {"data": {"size": str(new)}})
    events.append(("updated", name))


@kopf.on.delete("kopf.example.org", "v1", "gizmos")
def deleted(name, **_):
    events.append(("deleted", name))


@kopf.on.event("configmaps", labels={"kopf": kopf.PRESENT})
def seen(type, name, **_):
    events.append((type, name))


@kopf.timer("kopf.example.org", "v1", "gizmos", interval=0.5)
def ticks(name, patch, **_):
    events.append(("tick", name))


def gizmo(name, size):
    return {"apiVersion": "kopf.example.org/v1", "kind": "Gizmo", "metadata": {"name": name}, "spec": {"size": size}}


def child(name):
    try:
        return core.read_namespaced_config_map(f"{name}-child", SPACE).data["size"]
    except client.rest.ApiException as error:
        assert error.status == 404
        return None


def status(name):
    return custom.get_namespaced_custom_object(*GADGETS, name).get("status") or {}


def definition(group, plural, kind, scope):
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [{
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}} if kind == "Gizmo" else {},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}},
            }],
        },
    }


@step
def the_operator_starts_and_has_a_peering():
    core.create_namespace({"metadata": {"name": SPACE}})
    extensions = client.ApiextensionsV1Api()
    for one in (definition("kopf.example.org", "gizmos", "Gizmo", "Namespaced"), definition("kopf.dev", "kopfpeerings", "KopfPeering", "Namespaced")):
        extensions.create_custom_resource_definition(one)
    peering = {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering", "metadata": {"name": "gizmos"}}
    make = lambda: custom.create_namespaced_custom_object("kopf.dev", "v1", SPACE, "kopfpeerings", peering)
    until(lambda: attempt(make), "the peering's kind")
    operator = lambda: asyncio.run(kopf.operator(namespaces=[SPACE], stop_flag=stop, ready_flag=ready))
    threading.Thread(target=operator, daemon=True).start()
    assert ready.wait(60)
    alive = lambda: custom.get_namespaced_custom_object("kopf.dev", "v1", SPACE, "kopfpeerings", "gizmos").get("status")
    until(alive, "the operator's sign of life")


def attempt(call):
    try:
        return call()
    except client.rest.ApiException as error:
        assert error.status == 404, error
        return None


@step
def objects_get_their_children():
    custom.create_namespaced_custom_object(*GADGETS, gizmo("a", 1))
    until(lambda: child("a") == "1", "the child")
    until(lambda: status("a").get("ready") and status("a")["created"]["child"] == "a-child", "the status")
    made = custom.get_namespaced_custom_object(*GADGETS, "a")
    assert made["metadata"]["finalizers"] == ["kopf.example.org/finalizer"]
    custom.patch_namespaced_custom_object(*GADGETS, "a", {"spec": {"size": 2}})
    until(lambda: child("a") == "2", "the change")
    until(lambda: ("tick", "a") in events, "the timer")
    posted = lambda: [it for it in core.list_namespaced_event(SPACE).items if it.involved_object.name == "a"]
    until(lambda: any("a child was made" in (it.message or "") for it in posted()), "an event")


@step
def it_goes_on_after_the_servers_restart():
    restart_server()
    custom.create_namespaced_custom_object(*GADGETS, gizmo("b", 3))
    until(lambda: child("b") == "3", "a child after the restart")
    core.create_namespaced_config_map(SPACE, {"metadata": {"name": "watched", "labels": {"kopf": ""}}})
    until(lambda: ("ADDED", "watched") in events, f"an event after the restart: {events}")


@step
def what_is_deleted_is_let_go_and_takes_its_child_along():
    for name in ("a", "b"):
        custom.delete_namespaced_custom_object(*GADGETS, name)
        until(lambda: ("deleted", name) in events, "the deletion's handler")
        until(lambda: child(name) is None, "the child's end")
    assert custom.list_namespaced_custom_object(*GADGETS)["items"] == []
    stop.set()


run()
