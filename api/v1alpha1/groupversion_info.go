package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of all kinds in this package.
	GroupVersion = schema.GroupVersion{Group: "ems.mitigation.dev", Version: "v1alpha1"}

	// SchemeGroupVersion is GroupVersion under the name that generated code expects.
	SchemeGroupVersion = GroupVersion

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds all kinds of this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&MitigationFeed{}, &MitigationFeedList{},
		&MitigationBundle{}, &MitigationBundleList{},
		&Mitigation{}, &MitigationList{},
		&MitigationConfiguration{}, &MitigationConfigurationList{},
		&PoolMitigationConfig{}, &PoolMitigationConfigList{},
		&MitigationPlan{}, &MitigationPlanList{},
		&PoolServer{}, &PoolServerList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
