//! The demo's project folder: the same files a user would write, and kept for reading.

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rowcast_core::{Code, Reason, Secret};

use super::{crm, shop};

/// What the files say about this machine.
pub(crate) struct Facts<'a> {
    pub(crate) port: u16,
    pub(crate) password: &'a Secret<String>,
    pub(crate) crm_port: u16,
    pub(crate) crm_token: &'a Secret<String>,
}

const MARK: &str = "# Written by `rowcast demo`, which may write it anew.";

/// Writes the project. An earlier demo's folder is replaced, anything else is left alone.
pub(crate) fn write(dir: &Path, facts: &Facts) -> Result<(), Reason> {
    let project = dir.join("rowcast.yml");
    if project.exists() {
        let ours = std::fs::read_to_string(&project).is_ok_and(|text| text.starts_with(MARK));
        if !ours {
            return Err(Reason::new(
                Code::Usage,
                format!("can't write the demo's project to {}", dir.display()),
            )
            .detail("the folder holds a project of your own")
            .hint("choose another folder with `rowcast demo --dir FOLDER`"));
        }
    } else if dir
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
    {
        return Err(Reason::new(
            Code::Usage,
            format!("can't write the demo's project to {}", dir.display()),
        )
        .detail("the folder is not empty")
        .hint("choose another folder with `rowcast demo --dir FOLDER`"));
    }
    for (name, text) in files(facts) {
        put(&dir.join(name), &text, 0o644)?;
    }
    put(
        &dir.join("secrets/shop_password"),
        facts.password.reveal(),
        0o600,
    )?;
    put(
        &dir.join("secrets/crm_token"),
        facts.crm_token.reveal(),
        0o600,
    )
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), Reason> {
    use std::io::Write as _;
    let write = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    write().map_err(|error: std::io::Error| {
        Reason::new(
            Code::FileUnreadable,
            format!("can't write {}", path.display()),
        )
        .detail(error.to_string())
    })
}

fn files(facts: &Facts) -> [(&'static str, String); 7] {
    [
        (
            "rowcast.yml",
            format!("{MARK}\nproject: demo\nversion: 1\ndescription: A shop whose customers are kept in step with a CRM\n"),
        ),
        (
            "sources/shop.yml",
            format!(
                "# The throwaway PostgreSQL server of the demo.
source: shop
host: 127.0.0.1
port: {}
database: shop
user: rowcast
password: ${{file:secrets/shop_password}}
sslmode: disable              # loopback only; the default is verify-full
",
                facts.port
            ),
        ),
        (
            "models/customers.yml",
            "# Which rows, and what identifies one. The query is in customers.sql beside this file.\n\
             model: customers\nsource: shop\nprimary_key: [id]\n"
                .to_owned(),
        ),
        ("models/customers.sql", shop::MODEL.to_owned()),
        (
            "destinations/crm.yml",
            format!(
                "# The demo's CRM: an HTTP API on loopback that takes batches and answers for each contact.
destination: crm
connector: http
settings:
  url: http://127.0.0.1:{}/contacts
  auth: {{ bearer: \"${{file:secrets/crm_token}}\" }}
  format: {{ wrap: contacts }}
  outcomes: {{ at: results, pair_by: index, rejected_when: {{ path: status, in: [error] }}, message: error }}
batch: {{ max_records: {} }}
concurrency: 4
allow_addresses: [127.0.0.0/8]   # loopback and private addresses are refused unless listed
",
                facts.crm_port,
                crm::BATCH_MAX
            ),
        ),
        (
            "syncs/customers_to_crm.yml",
            "# Keeps the CRM's contacts equal to the model's rows: new and changed rows are upserted,
# rows that leave the model are deleted.
sync: customers_to_crm
model: customers
destination: crm
object: contact
mode: mirror
fields:
  email: email
  name: \"{{ first_name }} {{ last_name }}\"
  plan: plan
  orders: orders
  total: total
"
            .to_owned(),
        ),
        (
            "tests/a_customer_becomes_a_contact.yml",
            "# `rowcast test` checks the mapping without a database or a network.
test: a_customer_becomes_a_contact
sync: customers_to_crm
rows:
  - { id: 1, email: ada@example.com, first_name: Ada, last_name: Lovelace, plan: pro, orders: 2, total: 99.80 }
expect:
  - { email: ada@example.com, name: Ada Lovelace, plan: pro, orders: 2, total: 99.80 }
"
            .to_owned(),
        ),
    ]
}
