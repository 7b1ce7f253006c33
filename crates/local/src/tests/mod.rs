mod apply;
mod ask;
mod layout;
mod loads;
mod manifest;
mod view;
