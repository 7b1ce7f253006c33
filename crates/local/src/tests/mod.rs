mod layout;
mod manifest;
