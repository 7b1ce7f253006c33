use rstest::rstest;

use super::*;

fn form(shape: Shape) -> Accepted {
    Accepted {
        shape,
        encoding: Encoding::Json,
    }
}

#[rstest]
#[case::nothing(None, Some(form(Shape::Object)))]
#[case::anything(Some("*/*"), Some(form(Shape::Object)))]
#[case::json(Some("application/json, */*"), Some(form(Shape::Object)))]
#[case::table(
    Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
    Some(form(Shape::Table))
)]
#[case::old_table_falls_through(
    Some("application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json"),
    Some(form(Shape::Object))
)]
#[case::protobuf_falls_through(
    Some("application/vnd.kubernetes.protobuf,application/json"),
    Some(form(Shape::Object))
)]
#[case::only_protobuf(Some("application/vnd.kubernetes.protobuf"), None)]
#[case::discovery(
    Some("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"),
    Some(form(Shape::Discovery("v2")))
)]
#[case::metadata(
    Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
    Some(form(Shape::PartialObjectList))
)]
fn chooses_the_first_form_it_has(#[case] header: Option<&str>, #[case] expected: Option<Accepted>) {
    assert_eq!(negotiate(header), expected);
}

#[test]
fn writes_yaml_when_asked() {
    let accepted = negotiate(Some("application/yaml")).unwrap();

    assert_eq!(accepted.encoding, Encoding::Yaml);
}
