//! Which addresses a destination may be reached at.
//!
//! Configuration is written by people who may not own the network Rowcast stands in, and rows fill
//! in paths. So only public unicast addresses are reached, unless `allow_addresses` opens a range by
//! name; the metadata services of clouds are never reached, because they hand out credentials. This
//! module decides and connects to nothing; connectors ask it for every address that they really
//! connect to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::connector::Problems;
use crate::{Code, DestinationConfig, Reason};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Addresses that hand out credentials of the machine to whoever asks.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254), // AWS, Google, Azure, DigitalOcean, Hetzner, OpenStack
    Ipv4Addr::new(169, 254, 170, 2),   // AWS ECS task credentials
    Ipv4Addr::new(169, 254, 170, 23),  // AWS EKS pod identity
    Ipv4Addr::new(169, 254, 0, 23),    // Tencent Cloud
    Ipv4Addr::new(169, 254, 42, 42),   // Scaleway
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud (classic)
    Ipv4Addr::new(168, 63, 129, 16),   // Azure wire server
];

const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),  // AWS EKS pod identity
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe), // OpenStack, link-local form
];

/// IPv4 ranges that are not public unicast (IANA special-purpose registry), with their names.
const SPECIAL_V4: &[(Ipv4Addr, u8, &str)] = &[
    (Ipv4Addr::UNSPECIFIED, 8, "this-network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignment"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// IPv6 ranges with names. What is neither here nor in 2000::/3 is "not public" all the same.
const SPECIAL_V6: &[(Ipv6Addr, u8, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),
        96,
        "IPv4-mapped",
    ),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "NAT64"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "NAT64"),
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "protocol assignment",
    ),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "documentation",
    ),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "documentation",
    ),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// The widest ranges that `allow_addresses` may open: one private range, never the whole internet
/// by one line.
const WIDEST_V4: u8 = 8;
const WIDEST_V6: u8 = 7;

/// Which addresses may be connected to.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub address: IpAddr,
    /// What kind of address it is: `loopback`, `private`.
    pub kind: &'static str,
    /// Whether `allow_addresses` could open it.
    pub openable: bool,
}

impl AddressPolicy {
    /// Reads `allow_addresses`: addresses and ranges in CIDR form.
    ///
    /// # Errors
    /// What is wrong with which line.
    pub fn new(allow_addresses: &[String]) -> Result<Self, String> {
        let mut allowed = Vec::with_capacity(allow_addresses.len());
        for line in allow_addresses {
            let net = line
                .parse::<IpNet>()
                .or_else(|_| line.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| {
                    format!("{line} is neither an address nor a range such as 10.0.0.0/8")
                })?;
            let widest = if net.addr().is_ipv4() {
                WIDEST_V4
            } else {
                WIDEST_V6
            };
            if net.prefix_len() < widest {
                return Err(format!("{line} is too wide: the widest range is /{widest}"));
            }
            allowed.push(net.trunc());
        }
        Ok(Self { allowed })
    }

    /// Reads `allow_addresses` of a destination; what is wrong is noted.
    pub fn read(config: &DestinationConfig, problems: &mut Problems) -> Option<Self> {
        let hint = "list addresses and ranges such as 10.0.0.0/8 or 127.0.0.1";
        Self::new(&config.allow_addresses)
            .map_err(|message| problems.add("allow_addresses", message, hint))
            .ok()
    }

    /// Whether an address may be connected to.
    ///
    /// # Errors
    /// Why not.
    pub fn permit(&self, address: IpAddr) -> Result<(), Refused> {
        // An address that carries an IPv4 address reaches that one, whatever the wrapping.
        let inner = embedded_v4(address);
        let metadata = match address {
            IpAddr::V4(v4) => METADATA_V4.contains(&v4),
            IpAddr::V6(v6) => METADATA_V6.contains(&v6),
        } || inner.is_some_and(|v4| METADATA_V4.contains(&v4));
        if metadata {
            return Err(Refused {
                address,
                kind: "cloud metadata",
                openable: false,
            });
        }
        let Some(kind) = special(address) else {
            return Ok(());
        };
        let listed = |address: IpAddr| self.allowed.iter().any(|net| net.contains(&address));
        if listed(address) || inner.is_some_and(|v4| listed(v4.into())) {
            return Ok(());
        }
        Err(Refused {
            address,
            kind,
            openable: true,
        })
    }
}

/// What an address that is not public unicast is called.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => SPECIAL_V4
            .iter()
            .find(|(net, len, _)| Ipv4Net::new_assert(*net, *len).contains(&v4))
            .map(|(_, _, kind)| *kind),
        IpAddr::V6(v6) => SPECIAL_V6
            .iter()
            .find(|(net, len, _)| Ipv6Net::new_assert(*net, *len).contains(&v6))
            .map(|(_, _, kind)| *kind)
            .or_else(|| (v6.segments()[0] & 0xe000 != 0x2000).then_some("not public")),
    }
}

/// The IPv4 address inside an IPv6 address of a transition mechanism.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match s {
        // ::a.b.c.d (deprecated), ::ffff:a.b.c.d, ::ffff:0:a.b.c.d
        [0, 0, 0, 0, 0, 0 | 0xffff, h, l] | [0, 0, 0, 0, 0xffff, 0, h, l] => v4(h, l),
        [0x64, 0xff9b, 0, 0, 0, 0, h, l] | [0x64, 0xff9b, 1, .., h, l] => v4(h, l),
        [0x2002, h, l, ..] => v4(h, l),
        // Teredo hides the client's address by inverting it.
        [0x2001, 0, .., h, l] => v4(!h, !l),
        _ => None,
    }
}

impl Refused {
    /// The reason as people see it.
    pub fn reason(&self, host: &str) -> Reason {
        let reason = Reason::new(
            Code::AddressRefused,
            format!("connecting to {host} is refused by the address policy"),
        )
        .detail(format!("{} is a {} address", self.address, self.kind));
        if !self.openable {
            return reason
                .hint("metadata addresses are never reached; use the service's own address");
        }
        let shown = match self.address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(self.address, IpAddr::V4),
            IpAddr::V4(_) => self.address,
        };
        // A range that begins with a colon is no plain YAML text.
        let line = match shown {
            IpAddr::V4(v4) => format!("{v4}/32"),
            IpAddr::V6(v6) => format!("\"{v6}/128\""),
        };
        reason.hint(format!(
            "if this address is meant, permit it where it is configured: allow_addresses: [{line}]"
        ))
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is a {} address", self.address, self.kind)
    }
}

impl std::error::Error for Refused {}
