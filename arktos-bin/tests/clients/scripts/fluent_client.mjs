// kubernetes-fluent-client against a tenant. It asks the server's own paths, without the tenant's prefix: its certificate says whose they are.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';

const { GenericKind, K8s, kind, RegisterKind } = await import(process.env.FLUENT_CLIENT);
const namespace = 'fluent';
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

class Cog extends GenericKind {}
RegisterKind(Cog, { group: 'example.org', version: 'v1', kind: 'Cog', plural: 'cogs' });

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

async function refused(code, promise) {
    const error = await promise.then(() => assert.fail('it was not refused'), (error) => error);
    assert.equal(error.status, code, JSON.stringify(error));
}

const configMap = (name, data) => ({ metadata: { name, namespace }, data });
const maps = () => K8s(kind.ConfigMap).InNamespace(namespace);

const steps = {
    async objects_are_applied_read_patched_and_deleted() {
        await K8s(kind.Namespace).Apply({ metadata: { name: namespace } });
        assert.deepEqual((await K8s(kind.ConfigMap).Apply(configMap('a', { a: '1' }))).data, { a: '1' });
        assert.deepEqual((await maps().Get('a')).data, { a: '1' });
        await refused(404, maps().Get('none'));
        await refused(409, K8s(kind.ConfigMap).Create(configMap('a')));
        await refused(422, K8s(kind.ConfigMap).Apply(configMap('Not a name')));
        await refused(403, K8s(kind.Node).Get());
        const patched = await K8s(kind.ConfigMap, { name: 'a', namespace }).Patch([{ op: 'add', path: '/data/b', value: '2' }]);
        assert.deepEqual(patched.data, { a: '1', b: '2' });
        assert.equal((await maps().WithField('metadata.name', 'a').Get()).items.length, 1);
        await maps().Delete('a');
        await maps().Delete('a'); // what is gone already is taken for deleted
    },

    async workloads_are_scaled_and_pods_evicted() {
        const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'main', image: 'web:1' }] } };
        const spec = { replicas: 1, selector: { matchLabels: { app: 'web' } }, template };
        await K8s(kind.Deployment).Apply({ metadata: { name: 'web', namespace }, spec });
        await K8s(kind.Deployment, { name: 'web', namespace }).Scale(2);
        const running = K8s(kind.Pod).InNamespace(namespace).WithLabel('app', 'web').WithField('status.phase', 'Running');
        const pods = async () => (await running.Get()).items.map((it) => it.metadata.name);
        await until(async () => (await pods()).length === 2, 'two running pods');
        const [first] = await pods();
        await K8s(kind.Pod).InNamespace(namespace).Evict(first);
        await until(async () => (await pods()).filter((name) => name !== first).length === 2, 'another pod');
        await K8s(kind.Deployment).InNamespace(namespace).Delete('web');
        await until(async () => (await pods()).length === 0, 'the end of the pods');
    },

    async kinds_of_ones_own_have_status_and_finalizers() {
        const free = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
        const openAPIV3Schema = { type: 'object', properties: { spec: free, status: free } };
        const versions = [{ name: 'v1', served: true, storage: true, subresources: { status: {} }, schema: { openAPIV3Schema } }];
        const names = { plural: 'cogs', singular: 'cog', kind: 'Cog' };
        const spec = { group: 'example.org', scope: 'Namespaced', names, versions };
        await K8s(kind.CustomResourceDefinition).Apply({ metadata: { name: 'cogs.example.org' }, spec });
        await until(async () => {
            const { status } = await K8s(kind.CustomResourceDefinition).Get('cogs.example.org');
            return status?.conditions?.some((it) => it.type === 'Established' && it.status === 'True');
        }, 'the definition');
        const metadata = { name: 'c', namespace };
        await K8s(Cog).Apply({ metadata, spec: { size: 1 } });
        const changed = await K8s(Cog).PatchStatus({ apiVersion: 'example.org/v1', kind: 'Cog', metadata, status: { ok: true } });
        assert.equal(changed.status.ok, true);
        await K8s(Cog, metadata).Finalize('add', 'example.org/held');
        await K8s(Cog).InNamespace(namespace).Delete('c');
        assert((await K8s(Cog).InNamespace(namespace).Get('c')).metadata.deletionTimestamp);
        await K8s(Cog, metadata).Finalize('remove', 'example.org/held');
        await refused(404, K8s(Cog).InNamespace(namespace).Get('c'));
    },

    async a_watch_goes_on_through_the_servers_restart() {
        const seen = [];
        const config = { resyncDelaySec: 1, relistIntervalSec: 5, lastSeenLimitSeconds: 3 };
        const see = (it, phase) => seen.push(`${phase} ${it.metadata.name}`);
        const watcher = K8s(kind.Secret).InNamespace(namespace).Watch(see, config);
        await watcher.start();
        const make = (name) => K8s(kind.Secret).Apply({ metadata: { name, namespace } });
        await make('s-0');
        await until(() => seen.includes('ADDED s-0'), 'the first event');
        console.log('RESTART');
        assert.equal((await lines.next()).value, 'restarted');
        await until(() => make('s-1').then(() => true, () => false), 'a write after the restart');
        await until(() => seen.includes('ADDED s-1'), `the event after the restart (${seen})`);
        watcher.close();
    },

    async a_namespace_goes_with_all_it_has() {
        await K8s(kind.Namespace).Delete(namespace);
        const all = async () => (await K8s(kind.Namespace).Get()).items.map((it) => it.metadata.name);
        await until(async () => !(await all()).includes(namespace), "the namespace's end");
        await K8s(kind.CustomResourceDefinition).Delete('cogs.example.org');
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
