//! The fuzz targets, over a small seeded corpus: good inputs, damaged ones, and noise.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// How many damaged copies are made of each good input.
const COPIES: usize = 400;

/// Numbers from a seed (xorshift), so that a failure comes again.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).expect("a small number")
    }
}

fn run(target: fn(&[u8]), good: &[Vec<u8>], alphabet: &[u8]) {
    let mut numbers = Numbers(0x5eed_0fa4_4705);
    for input in good {
        target(input);
        for _ in 0..COPIES {
            let mut copy = input.clone();
            for _ in 0..=numbers.next(4) {
                let at = numbers.next(copy.len() + 1);
                let byte = alphabet[numbers.next(alphabet.len())];
                match numbers.next(4) {
                    0 => copy.insert(at, byte),
                    1 if at < copy.len() => drop(copy.remove(at)),
                    2 => copy.truncate(at),
                    _ if at < copy.len() => copy[at] = byte,
                    _ => copy.push(byte),
                }
            }
            target(&copy);
        }
    }
    for _ in 0..COPIES {
        let noise: Vec<u8> = (0..numbers.next(64)).map(|_| alphabet[numbers.next(alphabet.len())]).collect();
        target(&noise);
    }
}

fn texts(good: &[&str]) -> Vec<Vec<u8>> {
    good.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn selectors() {
    let good =
        texts(&["app=web,tier!=db", "app in (a, b),!gone", "n>1,m<-2", "metadata.name=a,spec.nodeName!=b", r"a=b\,c"]);
    run(targets::selectors, &good, b"ab=!,()<> \\-./in\xff");
}

#[test]
fn quantity() {
    let good = texts(&["100m 1", "1.5Gi 512Mi", "-3e10 1k", "12345678901234567890E 0.000000001n", "+.5 007"]);
    run(targets::quantity, &good, b"0123456789.+-eEinumkKMGTP \xff");
}

#[test]
fn json_patch() {
    let good = texts(&[
        "{\"a\":[1,{\"b\":2}]}\n[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":[]},{\"op\":\"move\",\"from\":\"/a/1\",\"path\":\"/a/0/x\"}]",
        "{\"a\":{\"b\":{}}}\n[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/b\"},{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/b\"}]",
        "{\"a\":[1]}\n[{\"op\":\"remove\",\"path\":\"/a/-1\"},{\"op\":\"test\",\"path\":\"/a\",\"value\":[]}]",
        "{\"a\":{\"b\":1}}\n{\"a\":{\"b\":null,\"c\":{\"d\":null}}}",
    ]);
    run(targets::json_patch, &good, b"{}[]\",:/-01ab~\n");
}

#[test]
fn strategic_merge() {
    let good = texts(&[
        "{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}\n{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}],\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}",
        "{\"tolerations\":[{\"key\":\"a\"}],\"volumes\":[{\"name\":\"v\"}]}\n{\"tolerations\":[],\"volumes\":[{\"$patch\":\"replace\"},{\"name\":\"w\"}]}",
        "{\"imagePullSecrets\":[{\"name\":\"x\"}]}\n{\"imagePullSecrets\":[{\"$patch\":\"delete\",\"name\":\"x\"}],\"$retainKeys\":[\"imagePullSecrets\"]}",
        "{\"nodeSelector\":{\"a\":\"b\"}}\n{\"nodeSelector\":{\"$patch\":\"replace\",\"c\":\"d\"},\"$deleteFromPrimitiveList/x\":[1]}",
    ]);
    run(targets::strategic_merge, &good, b"{}[]\",:/$-01abname\n");
}

#[test]
fn protobuf() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protobuf");
    let mut good: Vec<(std::path::PathBuf, Vec<u8>)> = std::fs::read_dir(folder)
        .expect("the folder of recorded bodies")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| (path.clone(), std::fs::read(&path).expect("a body")))
        .collect();
    good.sort();
    let good: Vec<Vec<u8>> = good.into_iter().map(|(_, body)| body).collect();
    let alphabet: Vec<u8> = (0..=255).collect();
    run(targets::protobuf, &good, &alphabet);
}

#[test]
fn yaml() {
    let good = texts(&[
        "a: 1\nb:\n- x\n- {y: [z, 0x1f, 1e3, ~, yes]}\n",
        "base: &b {x: 1}\nuse:\n  <<: *b\n  y: \"q\"\n---\nc: |\n  text\n",
        "a: !!str 1\n? k\n: 'v'\n",
    ]);
    run(targets::yaml, &good, b"ab01:-?&*<>|!%@{}[],'\"#~ \n\t\\\xc3");
}

#[test]
fn apply() {
    let good = texts(&[
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}}\n{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"b\",\"ports\":[{\"containerPort\":1}]}]}}",
        "{}\n{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"labels\":{\"a\":\"b\"},\"finalizers\":[\"x\",\"y\"]},\"spec\":{\"tolerations\":[{\"key\":\"k\"}],\"nodeSelector\":{}}}",
    ]);
    run(targets::apply, &good, b"{}[]\",:/-01abname\n");
}

#[test]
fn cel() {
    let good = texts(&[
        "object.a.exists(x, type(x) == int && x > n)",
        "has(object.b.c) ? timestamp(object.b.c) : timestamp('1970-01-01T00:00:00Z')",
        "object.a.map(x, string(x)).join(',').matches('^1,.*$') || 'a'.charAt(n) == \"b\"",
        "[1, 2, n].filter(i, i % 2 == 1).sum() + size({'k': 1u, 'l': 2.0}) / -3",
    ]);
    run(targets::cel, &good, b"abnx.()[]{}'\"<>=!&|?:,+-*/%0159 \\\xc3");
}

#[test]
fn crd_schema() {
    let good = texts(&[
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1,\"default\":2}}}\n{\"metadata\":{\"name\":\"x\"},\"a\":0}",
        "{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"x-kubernetes-validations\":[{\"rule\":\"self.metadata.name != 'y'\"}]}\n{\"metadata\":{\"name\":\"x\"}}",
        "{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\",\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\",\"pattern\":\"^a+$\"}}}}}}\n{\"l\":[{\"k\":\"a\"},{\"k\":\"a\"}]}",
    ]);
    run(targets::crd_schema, &good, b"{}[]\",:/-01abkltypeself.\n");
}

#[test]
fn json() {
    let good = texts(&[
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i\",\"resources\":{\"limits\":{\"cpu\":\"1\"}},\"ports\":[{\"containerPort\":80,\"hostPort\":80}]}],\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\",\"items\":[{\"key\":\"k\",\"path\":\"p\"}]}}]}}",
        "{\"metadata\":{\"name\":\"a\",\"labels\":{\"a\":null}},\"spec\":{\"dnsConfig\":{\"searches\":[\"a.\"]},\"securityContext\":{\"sysctls\":[{\"name\":\"a.b\",\"value\":\"1\"}]},\"containers\":[]}}",
    ]);
    run(targets::json, &good, b"{}[]\",:/-01.abnametrufls\\ ");
}
