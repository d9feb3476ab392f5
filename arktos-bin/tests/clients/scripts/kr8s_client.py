"""kr8s against a tenant: its discovery, objects and their patches, waits, watches through a restart, kinds of one's own."""

import threading

import kr8s
from kr8s.objects import ConfigMap, CustomResourceDefinition, Deployment, Namespace, Pod, Secret, new_class

from steps import restart_server, run, step, until

SPACE = "kr8s"
api = kr8s.api()
Lever = new_class(kind="Lever", version="example.org/v1", namespaced=True, scalable=True, scalable_spec="replicas")


def config_map(name, labels=None, **data):
    return ConfigMap({"metadata": {"name": name, "namespace": SPACE, "labels": labels or {}}, "data": data})


def refused(code, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kr8s.ServerError as error:
        assert error.response.status_code == code, error.response.text
        return error.response.json()
    raise AssertionError("it was not refused")


def names(kind, **named):
    return sorted(it.name for it in api.get(kind, namespace=SPACE, **named))


@step
def what_the_server_is():
    assert api.version()["minor"].startswith("36")
    kinds = {it["kind"]: it for it in api.api_resources()}
    assert kinds["Deployment"]["version"] == "apps/v1" and "Node" not in kinds
    assert api.whoami()


@step
def objects_are_made_read_changed_and_deleted():
    Namespace({"metadata": {"name": SPACE}}).create()
    made = config_map("a", colour="green")
    assert not made.exists()
    made.create()
    assert made.exists() and made.metadata.uid
    made.patch({"data": {"size": "1"}})
    assert ConfigMap.get("a", namespace=SPACE).data == {"colour": "green", "size": "1"}
    made.patch([{"op": "remove", "path": "/data/colour"}], type="json")
    made.label({"colour": "red", "size": "2"})
    made.annotate(note="n")
    made.remove_label("size")
    made.refresh()
    assert (made.labels, made.annotations, made.data) == ({"colour": "red"}, {"note": "n"}, {"size": "1"}), made.raw
    assert refused(409, config_map("a").create)["reason"] == "AlreadyExists"
    assert refused(422, config_map("Not a name").create)["details"]["causes"][0]["field"] == "metadata.name"
    try:
        list(api.get("nodes"))
        raise AssertionError("a tenant is shown hosts")
    except ValueError:
        pass  # they are not in the tenant's discovery
    made.delete()
    made.wait("delete")
    try:
        ConfigMap.get("a", namespace=SPACE, timeout=1)
        raise AssertionError("it is still there")
    except kr8s.NotFoundError:
        pass


@step
def lists_are_chosen_by_labels_and_fields():
    for number in range(12):
        config_map(f"m-{number:02}", {"odd": str(number % 2)}).create()
    assert names("configmaps", label_selector={"odd": "1"}) == [f"m-{number:02}" for number in range(1, 12, 2)]
    assert names("cm", label_selector="odd in (0,1)", field_selector={"metadata.name": "m-03"}) == ["m-03"]
    assert len(list(api.get("configmaps", namespace=kr8s.ALL, label_selector="odd"))) == 12
    assert [it.name for it in api.get("configmaps", "m-04", namespace=SPACE)] == ["m-04"]


@step
def workloads_are_scaled_and_waited_for():
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    web = Deployment({"metadata": {"name": "web", "namespace": SPACE}, "spec": spec})
    web.create()
    web.wait("condition=Available", timeout=60)
    until(web.ready, "the deployment")
    assert len(names("pods", label_selector={"app": "web"})) == 2
    web.scale(3)
    until(lambda: len([it for it in web.pods() if it.ready()]) == 3, "three ready pods")
    pod = Pod.gen(name="one", namespace=SPACE, image="one:1")
    pod.create()
    pod.wait("condition=Ready", timeout=60)
    pod.delete()
    web.delete(propagation_policy="Foreground")
    web.wait("delete", timeout=60)
    until(lambda: not names("pods"), "the end of the pods")


@step
def owners_take_along_what_they_have_adopted():
    owner, child = config_map("owner"), config_map("child")
    owner.create()
    child.create()
    owner.adopt(child)
    assert ConfigMap.get("child", namespace=SPACE).metadata.ownerReferences[0].name == "owner"
    owner.delete()
    until(lambda: "child" not in names("configmaps"), "the child's end")


@step
def definitions_and_kinds_of_ones_own():
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer", "default": 1}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    version["subresources"] = {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}
    names_ = {"plural": "levers", "singular": "lever", "kind": "Lever", "shortNames": ["lv"]}
    spec = {"group": "example.org", "scope": "Namespaced", "names": names_, "versions": [version]}
    definition = CustomResourceDefinition({"metadata": {"name": "levers.example.org"}, "spec": spec})
    definition.create()
    definition.wait("condition=Established", timeout=60)
    lever = Lever({"metadata": {"name": "l", "namespace": SPACE}, "spec": {}})
    lever.create()
    assert lever.spec.replicas == 1
    lever.scale(4)
    assert Lever.get("l", namespace=SPACE).replicas == 4
    found = list(kr8s.get("levers.example.org", namespace=SPACE))
    assert [it.name for it in found] == ["l"] and found[0].kind == "Lever"


@step
def a_watch_goes_on_through_the_servers_restart():
    seen = []

    def follow():
        while True:
            try:
                for kind, it in kr8s.watch("secrets", namespace=SPACE, label_selector={"followed": "yes"}):
                    seen.append((kind, it.name))
            except Exception:  # whatever it says when nobody listens
                pass

    threading.Thread(target=follow, daemon=True).start()
    secret = lambda name: Secret({"metadata": {"name": name, "namespace": SPACE, "labels": {"followed": "yes"}}})
    secret("s-0").create()
    until(lambda: ("ADDED", "s-0") in seen, "the first event")
    restart_server()
    until(lambda: retry(secret("s-1").create), "a write after the restart")
    until(lambda: ("ADDED", "s-1") in seen, f"the event after the restart: {seen}")


def retry(call):
    try:
        call()
        return True
    except kr8s.ServerError as error:
        return error.response is not None and error.response.status_code == 409
    except Exception:
        return False


@step
def a_namespace_goes_with_all_it_has():
    Namespace.get(SPACE).delete()
    until(lambda: SPACE not in {it.name for it in api.get("namespaces")}, "the namespace's end")
    CustomResourceDefinition.get("levers.example.org").delete()


run()
