//! What `--help` ends with.

pub const COMPLETION: &str = "Examples:
  source <(fairlead completion bash)          in ~/.bashrc; needs nothing else
  source <(fairlead completion zsh)           in ~/.zshrc, after compinit
  fairlead completion fish > ~/.config/fish/completions/fairlead.fish";
pub const EXPLAIN: &str = "Example:
  fairlead explain edge-001";
pub const ROLLOUT: &str = "Examples:
  fairlead rollout status retail
  fairlead rollout history retail -o json";
pub const ACCEPT: &str = "Examples:
  fairlead accept retail --reason 'the branch was cleaned up'
  fairlead accept          every fleet of which a revision is held

Deletions and waves are approved: fairlead approve.";
pub const APPROVE: &str = "Examples:
  fairlead approve retail --reason 'the shop namespace is empty'
  fairlead approve retail --wave rest

An approval is for what waits now; another release of a cluster needs another one.
Revisions that are held are let in: fairlead accept.";
pub const PAUSE: &str = "Example:
  fairlead pause retail --reason 'inventory week'";
pub const RESUME: &str = "Examples:
  fairlead resume retail --reason 'inventory is done'
  fairlead resume          end an emergency stop";
pub const STOP: &str = "Example:
  fairlead stop --reason 'something deletes volumes'

It outlives restarts. When the API is down, make the file `stop` in the state folder, and remove it to go on.";
pub const RETRY: &str = "Example:
  fairlead retry retail --reason 'the registry is back'";
pub const AUDIT: &str = "Examples:
  fairlead audit
  fairlead audit --fleet retail --limit 200 -o json";
pub const WEBHOOK: &str = "Examples:
  fairlead webhook --config fairlead.yaml
  fairlead webhook --url https://fairlead.example.com --create --token-file admin-token

A new secret: openssl rand -hex 32 > webhook-secret";
pub const ROLLBACK: &str = "Examples:
  fairlead rollback retail --to 4f2c91a --push
  fairlead rollback retail --to 4f2c91a --open --config fairlead.yaml --reason 'checkout is broken'";
