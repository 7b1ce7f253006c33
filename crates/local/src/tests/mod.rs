mod apply;
mod layout;
mod manifest;
mod view;
