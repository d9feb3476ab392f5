// The official client for JavaScript against a tenant: typed and dynamic objects, patches, watches, an informer.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';

const k8s = await import(process.env.CLIENT_NODE);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const custom = config.makeApiClient(k8s.CustomObjectsApi);
const extensions = config.makeApiClient(k8s.ApiextensionsV1Api);
const coordination = config.makeApiClient(k8s.CoordinationV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = 'node';
const spanners = { group: 'example.org', version: 'v1', namespace, plural: 'spanners' };
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition, what) {
    const end = Date.now() + 60_000;
    for (;;) {
        const found = await condition();
        if (found) return found;
        assert(Date.now() < end, `${what} never came`);
        await pause(50);
    }
}

async function refused(code, reason, promise) {
    const error = await promise.then(() => assert.fail('it was not refused'), (error) => error);
    assert(error instanceof k8s.ApiException, String(error));
    const status = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
    assert.deepEqual([error.code, status.reason], [code, reason], error.message);
    return status;
}

async function restartServer() {
    console.log('RESTART');
    assert.equal((await lines.next()).value, 'restarted');
}

const configMap = (name, data = {}, labels = {}) => ({ metadata: { name, labels }, data });
const as = (type) => k8s.setHeaderOptions('Content-Type', type);

const steps = {
    async objects_are_made_read_changed_and_deleted() {
        await core.createNamespace({ body: { metadata: { name: namespace } } });
        const made = await core.createNamespacedConfigMap({ namespace, body: configMap('a', { colour: 'green' }) });
        assert(made.metadata.creationTimestamp instanceof Date);
        const body = { ...made, data: { ...made.data, size: '1' } };
        const replaced = await core.replaceNamespacedConfigMap({ name: 'a', namespace, body });
        assert.deepEqual(replaced.data, { colour: 'green', size: '1' });
        await refused(409, 'Conflict', core.replaceNamespacedConfigMap({ name: 'a', namespace, body }));
        await refused(409, 'AlreadyExists', core.createNamespacedConfigMap({ namespace, body: configMap('a') }));
        const status = await refused(422, 'Invalid', core.createNamespacedConfigMap({ namespace, body: configMap('Not a name') }));
        assert.equal(status.details.causes[0].field, 'metadata.name');
        await core.createNamespacedConfigMap({ namespace, body: configMap('dry'), dryRun: 'All' });
        await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'dry', namespace }));
        assert.equal((await core.deleteNamespacedConfigMap({ name: 'a', namespace })).status, 'Success');
        await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'a', namespace }));
        await refused(403, 'Forbidden', core.listNode());
    },

    async lists_come_in_chunks() {
        for (let number = 0; number < 25; number++) {
            const labels = { chunked: String(number % 2) };
            await core.createNamespacedConfigMap({ namespace, body: configMap(`chunk-${number}`, {}, labels) });
        }
        const root = () => core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=kube-root-ca.crt' });
        await until(async () => (await root()).items.length === 1, 'the root certificate');
        const names = [];
        const remaining = [];
        let _continue;
        do {
            const page = await core.listNamespacedConfigMap({ namespace, limit: 10, _continue });
            names.push(...page.items.map((it) => it.metadata.name));
            remaining.push(page.metadata.remainingItemCount);
            _continue = page.metadata._continue;
        } while (_continue);
        assert.equal(new Set(names).size, 26);
        assert.deepEqual(remaining, [16, 6, undefined]);
        await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'chunked=1' });
        const left = await core.listNamespacedConfigMap({ namespace, labelSelector: 'chunked' });
        assert.equal(left.items.length, 13);
    },

    async every_type_of_patch() {
        const containers = [{ name: 'main', image: 'web:1' }, { name: 'side', image: 'side:1' }];
        const template = { metadata: { labels: { app: 'web' } }, spec: { containers } };
        const body = { metadata: { name: 'web' }, spec: { replicas: 1, selector: { matchLabels: { app: 'web' } }, template } };
        await apps.createNamespacedDeployment({ namespace, body });
        const images = (it) => Object.fromEntries(it.spec.template.spec.containers.map(({ name, image }) => [name, image]));
        const patch = (body, type) => apps.patchNamespacedDeployment({ name: 'web', namespace, body }, as(type));
        const side = { spec: { template: { spec: { containers: [{ name: 'side', image: 'side:2' }] } } } };
        const { JsonPatch, MergePatch, StrategicMergePatch } = k8s.PatchStrategy;
        assert.deepEqual(images(await patch(side, StrategicMergePatch)), { main: 'web:1', side: 'side:2' });
        const replicas = [{ op: 'replace', path: '/spec/replicas', value: 2 }];
        assert.equal((await patch(replicas, JsonPatch)).spec.replicas, 2);
        assert.deepEqual(images(await patch(side, MergePatch)), { side: 'side:2' });
        const pods = async () => (await core.listNamespacedPod({ namespace, labelSelector: 'app=web' })).items;
        const running = (it) => it.status.phase === 'Running' && it.spec.containers.length === 1;
        await until(async () => (await pods()).filter(running).length === 2, 'two running pods');
        await apps.deleteNamespacedDeployment({ name: 'web', namespace, propagationPolicy: 'Foreground' });
        await until(async () => (await pods()).length === 0, 'the end of the pods');
    },

    async dynamic_objects_are_discovered_and_applied() {
        const applied = (data) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace }, data });
        const apply = (data, manager, force) =>
            objects.patch(applied(data), undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
        assert.deepEqual((await apply({ a: '1', b: '1' }, 'one')).data, { a: '1', b: '1' });
        const conflict = await refused(409, 'Conflict', apply({ b: '2' }, 'two', false));
        assert.equal(conflict.details.causes[0].reason, 'FieldManagerConflict');
        assert.deepEqual((await apply({ b: '2' }, 'two', true)).data, { a: '1', b: '2' });
        assert.deepEqual((await apply({}, 'one')).data, { b: '2' });
        const listed = await objects.list('v1', 'ConfigMap', namespace, undefined, undefined, undefined, 'metadata.name=applied');
        assert.equal(listed.items.length, 1);
        await objects.delete(applied({}));
        await refused(404, 'NotFound', objects.read(applied({})));
    },

    async definitions_and_custom_objects() {
        const free = { type: 'object', x_kubernetes_preserve_unknown_fields: true };
        const spec = { type: 'object', properties: { size: { type: 'integer', minimum: 1, default: 1 } } };
        const openAPIV3Schema = { type: 'object', properties: { spec, status: free } };
        const versions = [{ name: 'v1', served: true, storage: true, subresources: { status: {} }, schema: { openAPIV3Schema } }];
        const names = { plural: 'spanners', kind: 'Spanner' };
        const body = { metadata: { name: 'spanners.example.org' }, spec: { group: 'example.org', scope: 'Namespaced', names, versions } };
        await extensions.createCustomResourceDefinition({ body });
        await until(async () => {
            const found = await extensions.readCustomResourceDefinition({ name: 'spanners.example.org' });
            return found.status?.conditions?.some((it) => it.type === 'Established' && it.status === 'True');
        }, 'the definition');
        const spanner = (name, size) => ({ apiVersion: 'example.org/v1', kind: 'Spanner', metadata: { name }, spec: { size } });
        await custom.createNamespacedCustomObject({ ...spanners, body: spanner('s') });
        await refused(422, 'Invalid', custom.createNamespacedCustomObject({ ...spanners, body: spanner('t', 0) }));
        const merge = as(k8s.PatchStrategy.MergePatch);
        const changed = await custom.patchNamespacedCustomObject({ ...spanners, name: 's', body: { spec: { size: 2 } } }, merge);
        assert.deepEqual([changed.spec.size, changed.metadata.generation], [2, 2]);
        const status = await custom.patchNamespacedCustomObjectStatus({ ...spanners, name: 's', body: { status: { ok: true } } }, merge);
        assert.equal(status.status.ok, true);
        const listed = await custom.listNamespacedCustomObject(spanners);
        assert.deepEqual(listed.items.map((it) => it.metadata.name), ['s']);
    },

    async leases_are_renewed_by_who_has_them() {
        const spec = { holderIdentity: 'one', leaseDurationSeconds: 10, renewTime: new k8s.V1MicroTime(), leaseTransitions: 0 };
        const made = await coordination.createNamespacedLease({ namespace, body: { metadata: { name: 'leader' }, spec } });
        const renew = (holderIdentity) =>
            coordination.replaceNamespacedLease({ name: 'leader', namespace, body: { ...made, spec: { ...spec, holderIdentity, leaseTransitions: 1 } } });
        assert.equal((await renew('one')).spec.holderIdentity, 'one');
        await refused(409, 'Conflict', renew('two'));
    },

    async an_informer_lives_through_the_servers_restart() {
        const list = () => core.listNamespacedSecret({ namespace, labelSelector: 'informed' });
        const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/secrets`, list, 'informed');
        const seen = [];
        for (const verb of ['add', 'update', 'delete']) informer.on(verb, (it) => seen.push(`${verb} ${it.metadata.name}`));
        informer.on('error', async () => {
            await pause(200);
            await informer.start();
        });
        const make = (name) => core.createNamespacedSecret({ namespace, body: { metadata: { name, labels: { informed: '' } } } });
        await make('i-0');
        await informer.start();
        await make('i-1');
        await until(() => seen.includes('add i-0') && seen.includes('add i-1'), 'the first events');
        await restartServer();
        await until(() => make('i-2').then(() => true, (error) => error.code === 409), 'a write after the restart');
        await core.deleteNamespacedSecret({ name: 'i-0', namespace });
        await until(() => seen.includes('add i-2') && seen.includes('delete i-0'), `the events after the restart (${seen})`);
        assert.deepEqual(informer.list(namespace).map((it) => it.metadata.name).sort(), ['i-1', 'i-2']);
        await informer.stop();
    },

    async a_watch_that_starts_too_early_is_told_so() {
        const watch = new k8s.Watch(config);
        const seen = [];
        const query = { resourceVersion: (await core.readNamespace({ name: namespace })).metadata.resourceVersion, timeoutSeconds: 5 };
        const path = `/api/v1/namespaces/${namespace}/configmaps`;
        await new Promise((resolve, reject) => {
            watch.watch(path, query, (phase, it) => seen.push([phase, it]), (error) => (error ? reject(error) : resolve()));
        });
        const gone = seen.filter(([phase]) => phase === 'ERROR').map(([, it]) => it.code);
        assert(seen.length > 0 && (gone.length === 0 || gone[0] === 410), JSON.stringify(seen));
    },

    async a_namespace_goes_with_all_it_has() {
        await core.deleteNamespace({ name: namespace });
        await until(async () => {
            const { items } = await core.listNamespace();
            return items.every((it) => it.metadata.name !== namespace);
        }, "the namespace's end");
        await extensions.deleteCustomResourceDefinition({ name: 'spanners.example.org' });
    },
};

for (const [name, step] of Object.entries(steps)) {
    try {
        await step();
    } catch (error) {
        console.error(error);
        console.log(`FAILED ${name}`);
        process.exit(1);
    }
    console.log(`PASSED ${name}`);
}
process.exit(0);
