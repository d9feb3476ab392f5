"""The official client for Python against a tenant: typed, dynamic and custom objects, watches, informers, leader election."""

import json
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.informer import SharedInformer
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes import utils

from steps import restart_server, run, step, until

config.load_kube_config()
core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()
extensions = client.ApiextensionsV1Api()
SPACE = "python"
WIDGETS = ("example.org", "v1", SPACE, "widgets")


def refused(code, reason, call, *arguments, **named):
    """What is said of a call that must fail."""
    try:
        call(*arguments, **named)
    except ApiException as error:
        status = json.loads(error.body)
        assert (error.status, status["reason"], status["kind"]) == (code, reason, "Status"), error.body
        return status
    raise AssertionError("it was not refused")


def config_map(name, labels=None, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


@step
def what_the_server_is():
    assert client.VersionApi().get_code().minor.startswith("36")
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"apps", "batch", "coordination.k8s.io", "rbac.authorization.k8s.io"} <= groups
    names = {resource.name for resource in core.get_api_resources().resources}
    assert {"pods", "pods/status", "configmaps"} <= names and "nodes" not in names


@step
def objects_are_made_read_changed_and_deleted():
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=SPACE)))
    made = core.create_namespaced_config_map(SPACE, config_map("a", colour="green"))
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
    made.data["size"] = "1"
    replaced = core.replace_namespaced_config_map("a", SPACE, made)
    assert replaced.data == {"colour": "green", "size": "1"}
    stale = refused(409, "Conflict", core.replace_namespaced_config_map, "a", SPACE, made)
    assert "the object has been modified" in stale["message"] and stale["details"]["name"] == "a"
    dry = core.create_namespaced_config_map(SPACE, config_map("dry"), dry_run="All")
    assert dry.metadata.uid
    refused(404, "NotFound", core.read_namespaced_config_map, "dry", SPACE)
    core.delete_namespaced_config_map("a", SPACE)
    refused(404, "NotFound", core.delete_namespaced_config_map, "a", SPACE)


@step
def refusals_say_why():
    refused(409, "AlreadyExists", core.create_namespace, client.V1Namespace(metadata=client.V1ObjectMeta(name=SPACE)))
    status = refused(422, "Invalid", core.create_namespaced_config_map, SPACE, config_map("Not a name"))
    assert status["details"]["causes"][0]["field"] == "metadata.name"
    refused(403, "Forbidden", core.list_node)
    refused(404, "NotFound", core.create_namespaced_config_map, "nowhere", config_map("a"))
    assert refused(400, "BadRequest", core.list_namespaced_pod, SPACE, label_selector="a in")["message"]
    # The typed calls check this for themselves; the dynamic client sends it.
    maps = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": {"b": "c"}}}
    refused(400, "BadRequest", maps.create, body=wrong, namespace=SPACE)


@step
def lists_come_in_chunks():
    for number in range(25):
        core.create_namespaced_config_map(SPACE, config_map(f"chunk-{number:02}", {"chunked": str(number % 2)}))
    root = lambda: core.list_namespaced_config_map(SPACE, field_selector="metadata.name=kube-root-ca.crt").items
    until(root, "the root certificate")
    names, token, pages, left = [], None, 0, []
    while True:
        page = core.list_namespaced_config_map(SPACE, limit=10, _continue=token)
        names += [item.metadata.name for item in page.items]
        token, pages = page.metadata._continue, pages + 1
        left.append(page.metadata.remaining_item_count)
        if not token:
            break
    assert pages == 3 and names == sorted(set(names)) and len(names) == 26, (pages, names)
    assert left == [16, 6, None], left
    odd = core.list_namespaced_config_map(SPACE, label_selector="chunked=1", field_selector="metadata.name!=chunk-01")
    assert len(odd.items) == 11
    refused(400, "BadRequest", core.list_namespaced_secret, SPACE, limit=1, _continue="nonsense")


@step
def every_type_of_patch():
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "web:1"}, {"name": "side", "image": "side:1"}]},
            },
        },
    }
    apps.create_namespaced_deployment(SPACE, deployment)
    images = lambda it: [container.image for container in it.spec.template.spec.containers]
    one = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:2"}]}}}}
    strategic = apps.patch_namespaced_deployment("web", SPACE, one)
    assert images(strategic) == ["web:1", "side:2"] or images(strategic) == ["side:2", "web:1"], images(strategic)
    json_patch = [{"op": "replace", "path": "/spec/replicas", "value": 1}, {"op": "test", "path": "/kind", "value": "Deployment"}]
    assert apps.patch_namespaced_deployment("web", SPACE, json_patch).spec.replicas == 1
    merge = apps.patch_namespaced_deployment("web", SPACE, one, _content_type="application/merge-patch+json")
    assert images(merge) == ["side:2"]
    scaled = apps.patch_namespaced_deployment_scale("web", SPACE, {"spec": {"replicas": 2}})
    assert scaled.spec.replicas == 2
    refused(422, "Invalid", apps.patch_namespaced_deployment, "web", SPACE, [{"op": "test", "path": "/kind", "value": "x"}])
    pods = lambda: core.list_namespaced_pod(SPACE, label_selector="app=web", field_selector="status.phase=Running").items
    until(lambda: len(pods()) == 2, "two running pods")


@step
def what_goes_takes_what_it_owns_along_or_leaves_it():
    sets = lambda: apps.list_namespaced_replica_set(SPACE, label_selector="app=web").items
    wanted = lambda: [it for it in sets() if it.spec.replicas]

    def rolled_out():
        # What a replica set says of itself comes late: of two that still run, one may say that it has no pods yet.
        it = apps.read_namespaced_deployment("web", SPACE)
        seen = it.status.observed_generation == it.metadata.generation and len(wanted()) == 1
        return seen and it.status.replicas == it.status.updated_replicas == it.status.available_replicas == 2

    until(rolled_out, "the end of the roll-out")
    [owned] = wanted()
    apps.delete_namespaced_deployment("web", SPACE, propagation_policy="Orphan")
    until(lambda: not apps.list_namespaced_deployment(SPACE).items, "the deployment's end")
    until(lambda: any(it.metadata.name == owned.metadata.name and not it.metadata.owner_references for it in sets()))
    apps.delete_namespaced_replica_set(owned.metadata.name, SPACE, propagation_policy="Foreground")
    pods = lambda: core.list_namespaced_pod(SPACE, label_selector="app=web").items
    until(lambda: not pods(), "the pods' end")
    until(lambda: owned.metadata.name not in {it.metadata.name for it in sets()}, "the replica set's end")
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    refused(409, "Conflict", core.delete_namespaced_config_map, "chunk-00", SPACE, body=wrong)
    core.delete_collection_namespaced_config_map(SPACE, label_selector="chunked=0")
    assert len(core.list_namespaced_config_map(SPACE, label_selector="chunked").items) == 12


@step
def a_watch_goes_on_where_it_was():
    before = core.list_namespaced_config_map(SPACE).metadata.resource_version
    for number in range(3):
        core.create_namespaced_config_map(SPACE, config_map(f"seen-{number}"))
    seen, watcher = [], watch.Watch()
    for event in watcher.stream(core.list_namespaced_config_map, SPACE, resource_version=before):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            place = event["object"].metadata.resource_version
            watcher.stop()
    core.delete_namespaced_config_map("seen-0", SPACE)
    watcher = watch.Watch()
    for event in watcher.stream(core.list_namespaced_config_map, SPACE, resource_version=place, timeout_seconds=60):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 4:
            watcher.stop()
    added = [("ADDED", f"seen-{number}") for number in range(3)]
    assert seen == [*added, ("DELETED", "seen-0")], seen
    try:
        for event in watch.Watch().stream(core.list_namespaced_config_map, SPACE, resource_version="1", timeout_seconds=1):
            pass
    except ApiException as error:
        assert error.status == 410, error


@step
def definitions_and_custom_objects():
    spec = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer", "minimum": 1}, "colour": {"type": "string", "default": "red"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    extensions.create_custom_resource_definition({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wg"]},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}],
        },
    })
    conditions = lambda: {it.type: it.status for it in extensions.read_custom_resource_definition("widgets.example.org").status.conditions or []}
    until(lambda: conditions().get("Established") == "True", "the definition")
    widget = lambda name, size: {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}}
    made = custom.create_namespaced_custom_object(*WIDGETS, widget("w", 1))
    assert made["spec"] == {"size": 1, "colour": "red"} and made["metadata"]["generation"] == 1
    status = refused(422, "Invalid", custom.create_namespaced_custom_object, *WIDGETS, widget("v", 0))
    assert "spec.size" in status["message"]
    changed = custom.patch_namespaced_custom_object(*WIDGETS, "w", {"spec": {"size": 2}})
    assert changed["metadata"]["generation"] == 2
    changed = custom.patch_namespaced_custom_object_status(*WIDGETS, "w", {"status": {"ready": True}, "spec": {"size": 9}})
    assert changed["status"] == {"ready": True} and changed["spec"]["size"] == 2
    assert [it["metadata"]["name"] for it in custom.list_namespaced_custom_object(*WIDGETS)["items"]] == ["w"]
    custom.delete_namespaced_custom_object(*WIDGETS, "w")
    refused(404, "NotFound", custom.get_namespaced_custom_object, *WIDGETS, "w")


@step
def the_dynamic_client_discovers_and_applies():
    finder = dynamic.DynamicClient(client.ApiClient())
    maps = finder.resources.get(api_version="v1", kind="ConfigMap")
    widgets = finder.resources.get(api_version="example.org/v1", kind="Widget")
    assert widgets.namespaced and finder.resources.get(group="apps", name="deployments").kind == "Deployment"
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "1", "b": "1"}}
    maps.server_side_apply(body=mine, name="applied", namespace=SPACE, field_manager="one")
    theirs = {**mine, "data": {"b": "2"}}
    try:
        maps.server_side_apply(body=theirs, name="applied", namespace=SPACE, field_manager="two")
        raise AssertionError("a conflict is not seen")
    except dynamic.exceptions.ConflictError as error:
        assert json.loads(error.body)["details"]["causes"][0]["field"] == ".data.b", error.body
    forced = maps.server_side_apply(body=theirs, name="applied", namespace=SPACE, field_manager="two", force_conflicts=True)
    assert forced.data.to_dict() == {"a": "1", "b": "2"}
    less = {**mine, "data": {}}
    assert maps.server_side_apply(body=less, name="applied", namespace=SPACE, field_manager="one").data.to_dict() == {"b": "2"}
    widget = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "d", "labels": {"by": "dynamic"}}, "spec": {"size": 3}}
    widgets.create(body=widget, namespace=SPACE)
    found = widgets.get(namespace=SPACE, label_selector="by=dynamic")
    assert [it.metadata.name for it in found.items] == ["d"]
    for event in widgets.watch(namespace=SPACE, resource_version="0", timeout=1):
        assert event["object"].metadata.name == "d" and event["type"] == "ADDED"
    widgets.delete(name="d", namespace=SPACE)


@step
def documents_are_made_from_yaml():
    documents = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"password": "xyzzy"}},
    ]
    utils.create_from_yaml(client.ApiClient(), yaml_objects=documents, namespace=SPACE)
    assert core.read_namespaced_service("front", SPACE).spec.cluster_ip.startswith("10.")
    assert core.read_namespaced_secret("hidden", SPACE).data["password"] == "eHl6enk="


@step
def rights_are_asked_about_and_tokens_made():
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": SPACE}}}
    assert client.AuthorizationV1Api().create_self_subject_access_review(review).status.allowed
    who = client.AuthenticationV1Api().create_self_subject_review({}).status.user_info
    assert "system:authenticated" in who.groups
    core.create_namespaced_service_account(SPACE, {"metadata": {"name": "robot"}})
    token = core.create_namespaced_service_account_token("robot", SPACE, {"spec": {"expirationSeconds": 600}}).status.token
    as_robot = client.Configuration.get_default_copy()
    as_robot.cert_file = as_robot.key_file = None
    as_robot.api_key = {"authorization": f"Bearer {token}"}
    robot = client.ApiClient(as_robot)
    who = client.AuthenticationV1Api(robot).create_self_subject_review({}).status.user_info
    assert who.username == f"system:serviceaccount:{SPACE}:robot", who
    refused(403, "Forbidden", client.CoreV1Api(robot).list_namespaced_pod, SPACE)


@step
def one_of_two_leads():
    led = []

    def candidate(name):
        lock = LeaseLock("leader", SPACE, name)
        leads = lambda: led.append(name)
        settings = electionconfig.Config(
            lock, lease_duration=60, renew_deadline=40, retry_period=1, onstarted_leading=leads, onstopped_leading=lambda: None
        )
        threading.Thread(target=lambda: leaderelection.LeaderElection(settings).run(), daemon=True).start()

    lease = lambda: client.CoordinationV1Api().read_namespaced_lease("leader", SPACE).spec
    candidate("first")
    until(lambda: led == ["first"], "the first leader")
    candidate("second")
    before = lease().renew_time
    until(lambda: lease().renew_time > before, "a renewal")
    assert lease().holder_identity == "first" and led == ["first"]


@step
def an_informer_lives_through_the_servers_restart():
    events, lock = [], threading.Lock()

    def note(kind):
        def handler(it):
            with lock:
                events.append((kind, it.metadata.name))

        return handler

    informer = SharedInformer(core.list_namespaced_config_map, namespace=SPACE, label_selector="informed")
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        informer.add_event_handler(kind, note(kind))
    core.create_namespaced_config_map(SPACE, config_map("i-0", {"informed": ""}))
    informer.start()
    until(lambda: ("ADDED", "i-0") in events, "the first event")
    restart_server()
    core.create_namespaced_config_map(SPACE, config_map("i-1", {"informed": ""}))
    core.patch_namespaced_config_map("i-0", SPACE, {"data": {"a": "b"}})
    until(lambda: ("ADDED", "i-1") in events and ("MODIFIED", "i-0") in events, f"the events after a restart: {events}")
    core.delete_namespaced_config_map("i-0", SPACE)
    until(lambda: ("DELETED", "i-0") in events, "the deletion")
    assert {it.metadata.name for it in informer.cache.list()} == {"i-1"}
    informer.stop()


@step
def a_namespace_goes_with_all_it_has():
    core.delete_namespace(SPACE)
    until(lambda: SPACE not in {it.metadata.name for it in core.list_namespace().items}, "the namespace's end")
    assert custom.list_namespaced_custom_object(*WIDGETS)["items"] == []
    extensions.delete_custom_resource_definition("widgets.example.org")


run()
