"""kubernetes_asyncio against a tenant: many calls at once, chunks, patches, watches through a restart, leader election."""

import asyncio
import json

from kubernetes_asyncio import client, config, dynamic, watch
from kubernetes_asyncio.client.rest import ApiException
from kubernetes_asyncio.leaderelection import electionconfig, leaderelection
from kubernetes_asyncio.leaderelection.resourcelock.leaselock import LeaseLock

from steps import restart_server, run, step, until

SPACE = "asyncio"
LOOP = asyncio.new_event_loop()


def in_loop(function):
    """A step that is a coroutine."""

    def stepped():
        LOOP.run_until_complete(function())

    stepped.__name__ = function.__name__
    return step(stepped)


async def eventually(condition, what):
    for _ in range(600):
        try:
            found = await condition()
        except (ApiException, OSError, asyncio.TimeoutError) as error:
            found = None
        if found:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{what} never came")


async def refused(code, reason, call):
    try:
        await call
    except ApiException as error:
        status = json.loads(error.body)
        assert (error.status, status["reason"]) == (code, reason), error.body
        return status
    raise AssertionError("it was not refused")


def config_map(name, labels=None, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


@in_loop
async def objects_are_made_read_changed_and_deleted():
    await config.load_kube_config()
    global core, apps, custom
    core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()
    await core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=SPACE)))
    made = await core.create_namespaced_config_map(SPACE, config_map("a", colour="green"))
    made.data["size"] = "1"
    assert (await core.replace_namespaced_config_map("a", SPACE, made)).data == {"colour": "green", "size": "1"}
    await refused(409, "Conflict", core.replace_namespaced_config_map("a", SPACE, made))
    await refused(422, "Invalid", core.create_namespaced_config_map(SPACE, config_map("Not a name")))
    await refused(403, "Forbidden", core.list_node())
    await core.delete_namespaced_config_map("a", SPACE)
    await refused(404, "NotFound", core.read_namespaced_config_map("a", SPACE))


@in_loop
async def many_calls_run_at_once_and_lists_come_in_chunks():
    await asyncio.gather(*(core.create_namespaced_config_map(SPACE, config_map(f"c-{number:03}", {"c": ""})) for number in range(120)))
    names, token = [], None
    while True:
        page = await core.list_namespaced_config_map(SPACE, label_selector="c", limit=50, _continue=token)
        names += [it.metadata.name for it in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"c-{number:03}" for number in range(120)], names
    await core.delete_collection_namespaced_config_map(SPACE, label_selector="c")
    assert not (await core.list_namespaced_config_map(SPACE, label_selector="c")).items


@in_loop
async def every_type_of_patch():
    await core.create_namespaced_config_map(SPACE, config_map("p", a="1", b="1"))
    patch = lambda body, kind, **named: core.patch_namespaced_config_map("p", SPACE, body, _content_type=kind, **named)
    changed = await patch([{"op": "replace", "path": "/data/a", "value": "2"}], "application/json-patch+json")
    assert changed.data == {"a": "2", "b": "1"}
    assert (await patch({"data": {"a": None}}, "application/merge-patch+json")).data == {"b": "1"}
    assert (await patch({"data": {"c": "1"}}, "application/strategic-merge-patch+json")).data == {"b": "1", "c": "1"}
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"d": "1"}}
    apply = "application/apply-patch+yaml"
    assert (await patch(applied, apply, field_manager="one")).data == {"b": "1", "c": "1", "d": "1"}
    applied["data"]["d"] = "2"
    conflict = await refused(409, "Conflict", patch(applied, apply, field_manager="two"))
    assert conflict["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    assert (await patch(applied, apply, field_manager="two", force=True)).data["d"] == "2"


@in_loop
async def definitions_by_the_dynamic_client():
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "pulleys", "singular": "pulley", "kind": "Pulley"}
    spec = {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]}
    body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "pulleys.example.org"}, "spec": spec}
    definitions = client.ApiextensionsV1Api()
    await definitions.create_custom_resource_definition(body)

    async def established():
        found = await definitions.read_custom_resource_definition("pulleys.example.org")
        return any(it.type == "Established" and it.status == "True" for it in found.status.conditions or [])

    await eventually(established, "the definition")
    dyn = await dynamic.DynamicClient(client.ApiClient())
    pulleys = await dyn.resources.get(api_version="example.org/v1", kind="Pulley")
    made = await pulleys.create(body={"apiVersion": "example.org/v1", "kind": "Pulley", "metadata": {"name": "p"}, "spec": {}}, namespace=SPACE)
    assert made.spec.size == 1
    listed = await custom.list_namespaced_custom_object("example.org", "v1", SPACE, "pulleys")
    assert [it["metadata"]["name"] for it in listed["items"]] == ["p"]


@in_loop
async def a_watch_goes_on_through_the_servers_restart():
    seen = []

    async def follow():
        while True:
            try:
                async with watch.Watch() as stream:
                    async for event in stream.stream(core.list_namespaced_secret, SPACE, label_selector="followed"):
                        seen.append((event["type"], event["object"].metadata.name))
            except Exception:  # whatever it says when nobody listens
                await asyncio.sleep(0.2)

    following = asyncio.ensure_future(follow())
    make = lambda name: core.create_namespaced_secret(SPACE, client.V1Secret(metadata=client.V1ObjectMeta(name=name, labels={"followed": ""})))
    await make("s-0")

    async def saw(name):
        return ("ADDED", name) in seen

    await eventually(lambda: saw("s-0"), "the first event")
    await LOOP.run_in_executor(None, restart_server)

    async def made():
        try:
            return await make("s-1")
        except ApiException as error:
            return error.status == 409
        except Exception:
            return None

    await eventually(made, "a write after the restart")
    await eventually(lambda: saw("s-1"), f"the event after the restart: {seen}")
    following.cancel()


@in_loop
async def who_leads_is_one_of_two():
    leaders = []
    tasks = []
    for name in ["one", "two"]:

        async def leads(name=name):
            leaders.append(name)

        async def ends():
            pass

        lock = LeaseLock("leader", SPACE, name, client.ApiClient())
        elected = electionconfig.Config(lock, lease_duration=4, renew_deadline=3, retry_period=1, onstarted_leading=leads, onstopped_leading=ends)
        tasks.append(asyncio.ensure_future(leaderelection.LeaderElection(elected).run()))

    async def somebody():
        return leaders

    await eventually(somebody, "a leader")
    held = await client.CoordinationV1Api().read_namespaced_lease("leader", SPACE)
    assert held.spec.holder_identity == leaders[0] and len(leaders) == 1, (held.spec, leaders)
    tasks[["one", "two"].index(leaders[0])].cancel()

    async def other():
        return len(set(leaders)) == 2

    await eventually(other, "the other leader")
    for task in tasks:
        task.cancel()


@in_loop
async def a_namespace_goes_with_all_it_has():
    await core.delete_namespace(SPACE)

    async def gone():
        return SPACE not in {it.metadata.name for it in (await core.list_namespace()).items}

    await eventually(gone, "the namespace's end")
    await client.ApiextensionsV1Api().delete_custom_resource_definition("pulleys.example.org")


run()
